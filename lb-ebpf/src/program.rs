//! What every object needs around its programs.

/// Declares the licence, which some kernel functions demand to be GPL-compatible, the panic
/// handler, and a `main` that lets the crate compile on the host.
#[macro_export]
macro_rules! object {
    () => {
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        #[cfg(not(target_arch = "bpf"))]
        fn main() {}

        #[cfg(target_arch = "bpf")]
        #[panic_handler]
        fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
            // The verifier refuses a program that can get here: no panic is reachable.
            loop {}
        }
    };
}
