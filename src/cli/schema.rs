//! `schema`: the JSON Schema of policy files, for editors.

use super::Exit;
use crate::policy::schema;
use crate::report::Screen;

pub(super) fn run(screen: Screen) -> Exit {
    screen.result(&format!("{:#}", schema()));
    Exit::Success
}
