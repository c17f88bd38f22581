//! What `--verbose` tells: the API calls that were made.

use crate::aws::Session;
use crate::report::{Screen, calls_text};

/// Says which calls were made so far.
pub(super) fn say(session: &Session, screen: Screen) {
    screen.say(&calls_text(&session.calls()));
}
