//! The panic handler of every program here.

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        fn a_panic_can_be_reached() -> !;
    }
    // SAFETY: the function does not exist: a program that calls it is not linked.
    unsafe { a_panic_can_be_reached() }
}
