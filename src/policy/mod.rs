//! From YAML text to a checked [`PolicySet`].
//!
//! Text comes in as [`SourceFile`] values; reading files is the caller's work. Mistakes come out as [`Diagnostic`] values,
//! all of them at once; how they look is the work of [`crate::report`].
//!
//! A file goes through four steps: `tree` finds out where everything is and enforces the limits, `decode` reads the same
//! text with `serde_yaml` into the types of `raw`, `check`, `proxy` and `rollout` turn those into the types of `model`, and
//! `load` looks at all policies together.

mod check;
mod code;
mod decode;
mod diagnostic;
pub mod duration;
mod load;
mod mask;
mod mistakes;
mod model;
mod proxy;
mod raw;
mod rollout;
mod schema;
mod suggest;
mod tree;

pub use diagnostic::{Code, Diagnostic, Severity, SourceFile, Span};
pub use load::{Loaded, load};
pub use mask::masked_text;
pub use model::{
    Budgets, Components, Count, DesiredState, DockerRestart, Gate, OnFailure, Origin, Policy, PolicyName, PolicySet,
    Preflight, Proxy, ProxyUrl, Rollout, Selector, TagMatcher, Targets, Waves, is_tag_key,
};
pub use schema::schema;
