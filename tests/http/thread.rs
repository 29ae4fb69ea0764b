//! Threads: no signal is ever delivered to one.

use qbo_raw::http::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

/// Signals that are blocked in the calling thread, and the name it has for the system.
fn own() -> (u64, String) {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    (u64::from_str_radix(&field("SigBlk:"), 16).unwrap(), field("Name:"))
}

/// All but SIGKILL and SIGSTOP, which nobody can block, and the two that the C library keeps for itself.
const ALL: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);

#[test]
fn all_signals_are_blocked_in_a_thread_and_in_what_it_starts_and_none_in_the_caller() {
    let before = own().0;
    let (sender, receiver) = channel();
    thread::spawn("qbo_raw fetch", move || {
        // The HTTP library resolves names on threads that it starts itself.
        let child = std::thread::spawn(own).join().unwrap();
        sender.send((own(), child)).unwrap();
    })
    .unwrap();
    let ((blocked, name), (inherited, _)) = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(name, "qbo_raw fetch");
    assert_eq!(blocked & ALL, ALL, "{blocked:x}");
    assert_eq!(inherited & ALL, ALL, "{inherited:x}");
    assert_eq!(own().0, before);
}

#[test]
fn a_call_beside_the_main_thread_arrives_and_then_wakes() {
    let woken = Arc::new(AtomicU32::new(0));
    let wakes = woken.clone();
    let wake = Arc::new(move || {
        wakes.fetch_add(1, Ordering::SeqCst);
    });
    let receiver = thread::off_main(wake, || own().0).unwrap();
    let blocked = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(blocked & ALL, ALL);
    crate::bench::until("the wake", || woken.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_call_that_panics_is_noticed_at_once() {
    let (wake, woken) = channel();
    let receiver = thread::off_main(
        Arc::new(move || {
            let _ = wake.send(());
        }),
        || -> u32 { panic!("on purpose") },
    )
    .unwrap();
    woken.recv_timeout(Duration::from_secs(5)).expect("nobody was woken");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}
