//! The fields of a task, found in threads of our own whose ids, name, uid and start are known.

use std::thread;

use tracer_ebpf::abi::{OFFSET_UNKNOWN, Offsets};

use super::peek::{Peeker, Task};
use super::search::{Search, long, pointers, position};

/// More than `task_struct` has up to `cred` and `comm` on any kernel; reading ends where the memory ends.
const TASK_BYTES: usize = 12 << 10;
/// More than `struct cred` has up to its uid.
const CRED_BYTES: usize = 64;
/// Real user ids that nobody uses, for a moment each in one thread; its effective id stays.
const UIDS: [u32; 2] = [1_234_567_811, 1_234_509_273];

#[derive(Default)]
struct Fields {
    ids: Search,
    comm: Search,
    leader: Search,
    start: Search,
    /// Where pointers to a `cred` are, by the offset of the uid in it.
    cred: Vec<(u32, Search)>,
}

/// One thread, looked at by itself.
struct Look {
    task: Task,
    memory: Vec<u8>,
    name: String,
    ticks: Option<u64>,
    /// Offset in the task and offset of the uid behind it.
    uids: Option<Vec<(u32, u32)>>,
}

/// Fills in what is found about tasks.
///
/// # Errors
/// When the kernel does not let us look, or a thread cannot be started.
pub fn find(peeker: &mut Peeker, offsets: &mut Offsets) -> Result<(), String> {
    let own = peeker.task()?;
    let mut fields = Fields::default();
    if own.tid == own.pid {
        let memory = peeker.memory(own.address, TASK_BYTES);
        fields.leader.look(&memory, &own.address.to_ne_bytes(), 8);
        look_for_start(&mut fields.start, &memory, ticks_of("/proc/self/stat"));
    }
    for (number, uid) in UIDS.into_iter().enumerate() {
        let name = format!("calibrate{number}{}", std::process::id() % 1000);
        let look = thread::scope(|scope| {
            let in_thread = || look_at_itself(peeker, uid, name.clone());
            let thread = thread::Builder::new().name(name.clone()).spawn_scoped(scope, in_thread);
            let thread = thread.map_err(|error| format!("a thread could not be started: {error}"))?;
            thread.join().map_err(|_| "a calibrating thread panicked".to_owned())?
        })?;
        fields.add(&look, own);
    }
    fields.tell(offsets);
    Ok(())
}

fn look_at_itself(peeker: &mut Peeker, uid: u32, name: String) -> Result<Look, String> {
    let keep = -1i64;
    // SAFETY: a system call without pointers. Unlike the function of the C library it changes this thread only.
    let is_set = unsafe { libc::syscall(libc::SYS_setresuid, i64::from(uid), keep, keep) } == 0;
    let task = peeker.task()?;
    let memory = peeker.memory(task.address, TASK_BYTES);
    let uids = is_set.then(|| {
        let behind = |(at, address)| {
            let cred = peeker.memory(address, CRED_BYTES);
            position(&cred, &uid.to_ne_bytes(), 4).map(|uid| (at, uid))
        };
        pointers(&memory).filter_map(behind).collect()
    });
    // SAFETY: a system call without arguments.
    let tid = unsafe { libc::gettid() };
    let ticks = ticks_of(&format!("/proc/self/task/{tid}/stat"));
    Ok(Look { task, memory, name, ticks, uids })
}

/// When a thread began, in ticks of `USER_HZ` (100) since the boot: field 22 of proc_pid_stat(5).
fn ticks_of(path: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, behind_name) = text.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

fn look_for_start(search: &mut Search, memory: &[u8], ticks: Option<u64>) {
    const TICK_NS: u64 = 10_000_000;
    let Some(ticks) = ticks else { return };
    let is_right = |at: &u32| long(memory, *at).is_some_and(|value| value / TICK_NS == ticks);
    let end = u32::try_from(memory.len()).unwrap_or_default();
    search.keep((0..end).step_by(8).filter(is_right));
}

impl Fields {
    fn add(&mut self, look: &Look, leader: Task) {
        let mut ids = look.task.tid.to_ne_bytes().to_vec();
        ids.extend_from_slice(&look.task.pid.to_ne_bytes());
        self.ids.look(&look.memory, &ids, 4);
        let mut name = look.name.clone().into_bytes();
        name.truncate(15);
        name.push(0);
        self.comm.look(&look.memory, &name, 1);
        if leader.tid == leader.pid {
            self.leader.look(&look.memory, &leader.address.to_ne_bytes(), 8);
        }
        look_for_start(&mut self.start, &look.memory, look.ticks);
        for (_, uid) in look.uids.iter().flatten() {
            if !self.cred.iter().any(|(known, _)| known == uid) {
                self.cred.push((*uid, Search::default()));
            }
        }
        for (uid, search) in &mut self.cred {
            let of_uid = look.uids.iter().flatten().filter(|(_, found)| found == uid).map(|(at, _)| *at);
            search.keep(of_uid);
        }
    }

    fn tell(&self, offsets: &mut Offsets) {
        offsets.task_pid = self.ids.only();
        offsets.task_comm = self.comm.only();
        offsets.task_group_leader = self.leader.only();
        // `start_time` lies before `start_boottime` and is the same while the machine has never slept.
        offsets.task_start_boottime = self.start.later(8);
        // `real_cred` lies before `cred`; both are the same for ordinary tasks.
        let found: Vec<_> = self
            .cred
            .iter()
            .map(|(uid, search)| (*uid, search.later(8)))
            .filter(|(_, at)| *at != OFFSET_UNKNOWN)
            .collect();
        if let [(uid, at)] = found.as_slice() {
            offsets.cred_uid = *uid;
            offsets.task_cred = *at;
        }
    }
}
