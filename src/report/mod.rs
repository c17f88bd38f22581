//! How results look. The only module that prints, besides the entry points in [`crate::cli`].
//!
//! Results go to standard output, everything said while working goes to standard error. Colour is decoration: each text
//! reads the same without it. Whatever is shown as text can be had as JSON.

mod diagnostics;
mod explain;
mod history;
mod layout;
mod plan;
mod progress;
mod render;
mod screen;
mod summary;
mod waves;
mod words;

#[cfg(feature = "aws")]
mod calls;
#[cfg(feature = "aws")]
mod halts;

#[cfg(feature = "aws")]
pub use calls::calls_text;
pub use diagnostics::{diagnostics_json, diagnostics_text, error_text, validated_text};
pub use explain::{Explanation, explain_json, explain_text};
#[cfg(feature = "aws")]
pub use halts::{halted_json, halted_text, halts_json, halts_text, resumed_json, resumed_text};
pub use history::{history_json, history_text, run_json, tell_run};
pub use plan::{chapter_text, plan_text, question_text, scope_text};
pub use progress::Progress;
pub use render::{files_json, files_text, user_data_json};
pub use screen::{ColorChoice, Screen};
pub use summary::{summary_json, summary_text};
