"""What runs inside of a Python interpreter on behalf of Towpath. See `mod.rs` beside this folder."""
