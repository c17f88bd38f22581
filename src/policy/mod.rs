//! From YAML text to a checked [`PolicySet`].
//!
//! Text comes in as [`SourceFile`] values; reading files is the caller's work. Mistakes come out as [`Diagnostic`] values,
//! all of them at once; how they look is the work of [`crate::report`].

mod diagnostic;
mod model;

pub use diagnostic::{Code, Diagnostic, Severity, SourceFile, Span};
pub use model::{
    Components, Count, DesiredState, DockerRestart, Origin, Policy, PolicyName, PolicySet, Preflight, Proxy, ProxyUrl,
    Rollout, Selector, TagMatcher, Targets,
};
