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
        tokio::time::sleep(GIVE_BACK_EVERY).await;
        if let Err(error) = forget_the_start() {
            tracing::debug!(%error, "pages of the program stay mapped");
        }
        loop {
            tokio::time::sleep(GIVE_BACK_EVERY).await;
            // A lock on the heap for about a millisecond: not on a thread that others wait for.
            // SAFETY: glibc documents it as safe to call from any thread at any time.
            let _ = tokio::task::spawn_blocking(|| unsafe { libc::malloc_trim(0) }).await;
        }
    });
}

/// Unmaps the pages of the program that have been used so far; those that are used again come back from
/// the page cache in a microsecond each. The start reads all relocations and much code that never runs
/// again, and the kernel maps 64 kB around each page: 37 MB, of which an idle daemon uses 11.
///
/// # Errors
/// When the kernel does not list the mappings.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "madvise is given what the kernel has just named as pages of a file")]
fn forget_the_start() -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in code_of(&maps, &program.to_string_lossy()) {
        // SAFETY: a private mapping of a file that has not been written to: pages read again are the same.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// Addresses and lengths, in bytes, of the program's code and of what the linker put before it. Those
/// are as they are in the file; what comes behind holds relocated addresses.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn code_of(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(program)) {
        let mut fields = line.split_whitespace();
        let (Some(span), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let bounds = span.split_once('-').map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)));
        let (Some((Ok(start), Ok(end))), true) = (bounds, rights.starts_with("r-")) else { break };
        found.push((start, end - start));
        if rights == "r-xp" {
            return found;
        }
    }
    Vec::new()
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn code_and_what_is_before_it() {
        let check = |maps: &str, expected: &[(usize, usize)]| assert_eq!(code_of(maps, "/x/towpath"), expected);
        let read = "1000-3000 r--p 00000000 fd:00 7  /x/towpath\n";
        let code = "3000-7000 r-xp 00002000 fd:00 7  /x/towpath\n";
        let behind = "7000-8000 r--p 00006000 fd:00 7  /x/towpath\n8000-9000 rw-p 00007000 fd:00 7  /x/towpath\n";
        let library = "a000-b000 r-xp 00000000 fd:00 8  /lib/libc.so.6\n";
        check(&format!("{read}{code}{behind}{library}"), &[(0x1000, 0x2000), (0x3000, 0x4000)]);
        check(&format!("{code}{behind}"), &[(0x3000, 0x4000)]);
        // Nothing is touched where the order is another one.
        check(&format!("{read}8000-9000 rw-p 00007000 fd:00 7  /x/towpath\n{code}"), &[]);
        check(&format!("{read}{behind}"), &[]);
        check(library, &[]);
        check("", &[]);
    }

    /// The code goes on after its pages went.
    #[test]
    fn what_is_forgotten_comes_back() {
        forget_the_start().unwrap();
        code_and_what_is_before_it();
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back_now_and_then() {}
