//! A frame behind XDP's packet pointers.

use aya_ebpf::helpers::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_tail, generated::bpf_xdp_get_buff_len,
};
use aya_ebpf::{EbpfContext as _, programs::XdpContext};
use lb_common::{Frame, Header};

/// The frame of an XDP program's context.
///
/// The pointers are kept, not read anew for each access: the verifier tracks them, and every
/// access is compared with the end. Offsets that depend on the packet (options, lengths) are added
/// to pointers, for which the loader needs `CAP_PERFMON`.
pub struct XdpFrame<'a> {
    context: &'a XdpContext,
    data: usize,
    end: usize,
}

impl<'a> XdpFrame<'a> {
    /// The frame that the program was called for.
    #[inline(always)]
    #[must_use]
    pub fn new(context: &'a XdpContext) -> Self {
        Self { context, data: context.data(), end: context.data_end() }
    }

    #[inline(always)]
    fn pointer<T: Header>(&self, offset: usize) -> Option<*mut T> {
        let start = self.data + offset;
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: no packet lies at address zero. Without the hint the compiler tests for it, once
        // for every header.
        unsafe { core::hint::assert_unchecked(start != 0) };
        Some(start as *mut T)
    }

    /// Length of the frame in bytes, over all its buffers.
    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) as usize }
    }

    #[inline(always)]
    fn adjust(&mut self, bytes: i32) -> bool {
        // SAFETY: the context is the program's own. All packet pointers become invalid; the
        // exclusive borrow shows that no reference is alive, and both ends are read anew.
        let result = unsafe { bpf_xdp_adjust_head(self.context.as_ptr().cast(), bytes) };
        self.data = self.context.data();
        self.end = self.context.data_end();
        result == 0
    }
}

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        // SAFETY: `pointer` has checked the bounds; a `Header` has alignment 1 and takes any bytes.
        self.pointer::<T>(offset).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as in `header`, and the frame is borrowed exclusively.
        self.pointer::<T>(offset).map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        // The length is not added to a pointer: Linux 6.1's verifier forgets the bounds of numbers
        // that were swapped to the host's order, and refuses the sum. A jumbo frame lies in several
        // buffers, of which the pointers show the first.
        length <= self.end - self.data || length <= self.length()
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> bool {
        let surplus = self.length() as i32 - length as i32;
        if surplus < 0 {
            return false;
        }
        // SAFETY: as in `adjust`.
        let result = unsafe { bpf_xdp_adjust_tail(self.context.as_ptr().cast(), -surplus) };
        self.data = self.context.data();
        self.end = self.context.data_end();
        result == 0
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> bool {
        self.adjust(-(bytes as i32))
    }

    #[inline(always)]
    fn shrink(&mut self, bytes: usize) -> bool {
        self.adjust(bytes as i32)
    }
}
