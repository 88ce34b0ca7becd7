//! What the allocator of glibc holds. Others were measured: mimalloc kept 112 MB after the benchmark
//! where this keeps less than half, and was no faster.

use std::time::Duration;

/// How often free memory goes back to the system.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(10);

/// glibc keeps a heap for each thread; two are enough for a process that mostly waits, and halve what
/// an idle daemon holds. To be called before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt takes two numbers and touches nothing of ours")]
pub(crate) fn share() {
    // SAFETY: called before any other thread exists, with a documented parameter.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// Gives memory back that a burst of work has left free, now and then, for as long as the runtime lives:
/// glibc keeps what lies below the last block in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim takes a number and frees only what is free")]
pub(crate) fn give_back_now_and_then() {
    tokio::spawn(async {
        loop {
            tokio::time::sleep(GIVE_BACK_EVERY).await;
            // A lock on the heap for about a millisecond: not on a thread that others wait for.
            // SAFETY: glibc documents it as safe to call from any thread at any time.
            let _ = tokio::task::spawn_blocking(|| unsafe { libc::malloc_trim(0) }).await;
        }
    });
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_now_and_then() {}
