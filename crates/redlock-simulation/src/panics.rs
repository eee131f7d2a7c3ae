//! Panics that nobody else hears of: a runtime keeps those of tasks that nobody waits for, as the driver's are in the
//! background.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The panics on this thread since the last call, caught or not. They are heard of from the first call in the process
/// on; whatever was done about a panic before is still done.
pub(crate) fn take() -> Vec<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let what = panic.to_string().replace('\n', " ");
            // A thread that ends keeps nothing any more, and nothing is played on it.
            let _ = PANICS.try_with(|panics| panics.borrow_mut().push(what));
            before(panic);
        }));
    });
    PANICS.take()
}
