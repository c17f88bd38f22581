//! What was asked of the APIs.

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
        out.push_str(&format!("  {:>5} {}{more}\n", call.requests, call.operation));
    }
    out
}
