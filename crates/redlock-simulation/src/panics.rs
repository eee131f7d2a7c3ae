//! Collects panics that nobody else reports: a runtime keeps the panics of tasks that nobody waits for, for example
//! those of the driver in the background.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the panics on this thread since the last call, caught or not. They are collected from the first call in the
/// process on. The earlier panic hook still runs.
pub(crate) fn take() -> Vec<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let what = panic.to_string().replace('\n', " ");
            // A thread that ends records nothing any more, and no case is played on it.
            let _ = PANICS.try_with(|panics| panics.borrow_mut().push(what));
            before(panic);
        }));
    });
    PANICS.take()
}
