//! The watchdog as a program of its own, for tests and measurements of this crate. The `towpath` binary
//! calls the same function when it is started with [`towpath_operators::watchdog::ARG`].

fn main() {
    towpath_operators::watchdog::run();
}
