//! What is left when things break: the real binary, killed and restarted.
//!
//! The seeds are fixed by default and printed; `TOWPATH_SEED` replays or varies them.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests; the seed belongs into their output")]

mod database;
mod disk;
mod everything;
mod full;
mod harness;
mod killed;
mod loads;
