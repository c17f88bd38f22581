//! One file a platform.

pub(super) mod amazon_linux_1;
pub(super) mod amazon_linux_2;
pub(super) mod amazon_linux_2023;
mod common;
pub(super) mod windows;
