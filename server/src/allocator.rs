//! How the C library's allocator gives memory back.
//!
//! glibc serves large blocks by mappings of their own, which go back to the system when they are
//! freed. But each time one is freed it raises the size from which a block is *large*, up to 32 MiB
//! (`mallopt(3)`, `M_MMAP_THRESHOLD`), and what is smaller lies in a heap that shrinks from its end
//! only: one small block that lives on there keeps all below it. So what a crowd made the server
//! hold, tens of megabytes, stayed when it had left. A fixed size is not raised.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The environment variable that sets the allocator, read by glibc before `main`.
const VARIABLE: &str = "GLIBC_TUNABLES";

/// From which size on a block is mapped by itself, and how much may be free at the end of a heap
/// before it goes back: glibc's own defaults, 128 KiB each, but fixed.
const TUNABLES: &str = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";

/// Starts the program once more, in the same process, with an allocator that gives memory back. It
/// returns if that is so already, or somebody else has set the allocator, or it is not glibc's.
///
/// There is no other way without unsafe code: `mallopt` has no safe form in any library that is
/// kept, and allocators that give back by themselves take a C compiler. What somebody else has set
/// is not added to, because it cannot be read: some versions of glibc cut the variable at its first
/// colon while they read it.
///
/// # Errors
///
/// When the program cannot be started again, which harms nothing but this.
pub fn give_memory_back() -> io::Result<()> {
    if !cfg!(target_env = "gnu") || std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let mut args = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    Err(again.args(args).env(VARIABLE, TUNABLES).exec())
}
