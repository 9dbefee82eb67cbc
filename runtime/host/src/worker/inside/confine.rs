//! How a worker limits itself, before it sees anything of a plugin: by the kernel's limits of resources, and then by locking
//! itself in: no file and no connection can be opened (Landlock), and few system calls are left (seccomp). What a machine
//! does not have is told and done without; the sandbox of the engine stands in any case.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What a worker needs beyond its guest's memory: a batch on its way in and one on its way out, each twice, bytes.
const OWN_BYTES: u64 = 320 << 20;
/// Addresses, most of them never used: every memory of a guest reserves four gibibytes, bytes.
const ADDRESS_BYTES: u64 = 48 << 30;
/// Memory of a compilation, bytes.
const COMPILE_BYTES: u64 = 2 << 30;
/// Processor time of a worker in its whole life.
const LIFE_SECONDS: u64 = 24 * 3_600;
/// Processor time of a call beyond what the call itself may take: for what the worker does around it.
const AROUND_SECONDS: u64 = 2;
const DESCRIPTORS: u64 = 32;

/// What a worker still needs of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confinement {
    /// To run a guest.
    Guest,
    /// To start threads.
    Threads,
}

fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?)
}

fn limit(memory_bytes: u64) -> io::Result<()> {
    set(Resource::Core, 0, 0)?;
    set(Resource::Nofile, DESCRIPTORS, DESCRIPTORS)?;
    set(Resource::As, ADDRESS_BYTES, ADDRESS_BYTES)?;
    set(Resource::Data, memory_bytes, memory_bytes)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// # Errors
/// When the kernel refuses a limit.
pub(super) fn limit_to_compiling(seconds: u64) -> io::Result<()> {
    limit(COMPILE_BYTES)?;
    // A second more to tell it from an abort: the soft limit ends the process.
    set(Resource::Cpu, seconds, seconds.saturating_add(1))
}

/// For a guest with this much memory.
///
/// # Errors
/// When the kernel refuses a limit.
pub(super) fn limit_to_guest(memory_mib: u32) -> io::Result<()> {
    limit((u64::from(memory_mib) << 20) + OWN_BYTES)?;
    set(Resource::Cpu, LIFE_SECONDS, LIFE_SECONDS)
}

/// No more processes, threads and files from now on.
///
/// # Errors
/// When the kernel refuses a limit.
pub(super) fn limit_to_itself() -> io::Result<()> {
    set(Resource::Nproc, 0, 0)?;
    set(Resource::Fsize, 0, 0)
}

/// The kernel ends the process when the next call computes for much longer than this.
///
/// # Errors
/// When the kernel refuses the limit.
pub(super) fn limit_call(seconds: u64) -> io::Result<()> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    let soft = used.saturating_add(seconds).saturating_add(AROUND_SECONDS).min(LIFE_SECONDS);
    set(Resource::Cpu, soft, LIFE_SECONDS)
}

/// Denies this thread, and those that it starts, every file and every connection; gives what the machine lacks for it.
#[cfg(target_os = "linux")]
pub(super) fn lock_in_thread() -> Vec<String> {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus};
    let locked = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match locked.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Vec::new(),
        Ok(RulesetStatus::PartiallyEnforced) => vec!["Landlock in part".to_owned()],
        Ok(RulesetStatus::NotEnforced) | Err(_) => vec!["no Landlock".to_owned()],
    }
}

/// Leaves this process the system calls that it needs; the others fail. Gives what the machine lacks for it.
#[cfg(target_os = "linux")]
pub(super) fn lock_in_calls(confinement: Confinement) -> Vec<String> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    let calls = calls::ALWAYS.iter().chain(if confinement == Confinement::Threads { calls::THREADS } else { &[] });
    let rules = calls.map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let locked = std::env::consts::ARCH.try_into().map_err(|_| ()).and_then(|arch| {
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).map_err(|_| ())?;
        let program = BpfProgram::try_from(filter).map_err(|_| ())?;
        apply_filter_all_threads(&program).map_err(|_| ())
    });
    if locked.is_ok() { Vec::new() } else { vec!["no seccomp".to_owned()] }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock_in_thread() -> Vec<String> {
    vec!["no Landlock".to_owned()]
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock_in_calls(_confinement: Confinement) -> Vec<String> {
    vec!["no seccomp".to_owned()]
}

/// The system calls of a worker: its socket, its memory, its clock, waiting, and its end.
#[cfg(target_os = "linux")]
mod calls {
    pub(super) const ALWAYS: &[i64] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_fcntl,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_futex,
        libc::SYS_ppoll,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_getrandom,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_membarrier,
        libc::SYS_prlimit64,
        libc::SYS_getpid,
        libc::SYS_gettid,
        // An abort ends this process alone: there is nobody else in what it may see.
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    pub(super) const THREADS: &[i64] =
        &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_prctl, libc::SYS_memfd_create];
}

/// Both walls, for a process of one thread.
pub(super) fn lock_in(confinement: Confinement) -> Vec<String> {
    let mut missing = lock_in_thread();
    missing.extend(lock_in_calls(confinement));
    missing
}
