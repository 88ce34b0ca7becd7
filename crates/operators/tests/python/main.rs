//! The python operator with real interpreters: `python3`, or what TOWPATH_PYTHON names.

mod assets;
mod calls;
mod context;
mod fixture;
mod output;
mod processes;
mod sensor;
mod values;
