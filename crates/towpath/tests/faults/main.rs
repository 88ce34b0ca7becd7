//! What is left when things break: the real binary, killed and restarted.
//!
//! The seeds are fixed by default and printed; `TOWPATH_SEED` replays or varies them.

mod database;
mod harness;
mod killed;
