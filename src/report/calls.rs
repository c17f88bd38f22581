//! What was asked of the APIs.

use std::fmt::Write as _;

use crate::aws::CallCount;

/// One line an operation, most frequent first.
pub fn calls_text(calls: &[CallCount]) -> String {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| (std::cmp::Reverse(call.requests), call.operation));
    let mut out = String::from("API calls:\n");
    for call in calls {
        let more = match (call.throttled, call.failed) {
            (0, 0) => String::new(),
            (throttled, failed) => format!(" ({throttled} throttled, {failed} failed)"),
        };
        let _ = writeln!(out, "  {:>5} {}{more}", call.requests, call.operation);
    }
    out
}
