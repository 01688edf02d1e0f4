//! A module's memory: a fixed arena as the global allocator, and the data a builder appended. Owns the descriptor through
//! which the builder says where both lie; must never let the memory grow.
//!
//! The linear memory of a sealed module, from address 0:
//!
//! | what | who sizes it |
//! |---|---|
//! | stack | `-zstack-size` in the module's build script |
//! | statics | the module |
//! | appended data | the builder, for kernels |
//! | arena: arguments, answer, the module's own allocations | the builder, from the manifest's `limits` |
//!
//! Sealing raises the memory's minimum to what the largest call needs and sets the maximum to the same, so no call grows it:
//! every growth takes the process's memory lock and costs the other cores an interrupt. A module that allocates beyond its
//! arena asks for growth all the same; it is refused, and that is how the host tells the fault `memory` from a trap.
//!
//! The arena only counts what is alive: it gives space back when its last allocation is freed, so that a browser can keep
//! one instance for many calls.

/// What the builder and the module tell each other, as little-endian u32; the module exports it by this name. All zero
/// until a builder patches it.
#[cfg(any(target_arch = "wasm32", doc))]
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    /// Address of the appended data.
    pub data_address: u32,
    /// Length of the appended data, in bytes.
    pub data_bytes: u32,
    /// Where the arena begins; 0 is the end of the statics.
    pub arena_address: u32,
}

/// What a builder appended, 16-byte aligned; empty natively and in a module that no builder appended to.
pub fn appended() -> &'static [u8] {
    #[cfg(target_arch = "wasm32")]
    let data = wasm::appended();
    #[cfg(not(target_arch = "wasm32"))]
    let data: &[u8] = &[];
    data
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    #![expect(unsafe_code, reason = "an allocator hands out raw memory")]

    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::Cell;

    use super::Descriptor;

    const PAGE_BYTES: usize = 65_536;

    #[used]
    #[unsafe(no_mangle)]
    static selvedge_descriptor: Descriptor = Descriptor { data_address: 0, data_bytes: 0, arena_address: 0 };

    #[global_allocator]
    static ARENA: Arena = Arena { top: Cell::new(0), alive: Cell::new(0) };

    unsafe extern "C" {
        /// The end of the statics, as the linker knows it.
        static __heap_base: u8;
    }

    /// A bump allocator over what lies behind the statics and the appended data.
    struct Arena {
        /// The address of the next allocation; meaningless while nothing is alive.
        top: Cell<usize>,
        /// How many allocations are alive.
        alive: Cell<usize>,
    }

    // SAFETY: a module has one thread; threads are refused when it is opened.
    unsafe impl Sync for Arena {}

    // === impl Arena ===

    impl Arena {
        fn base(&self) -> usize {
            match descriptor().arena_address as usize {
                0 => (&raw const __heap_base).addr(),
                address => address,
            }
        }

        /// Whether the memory reaches to `end`; asks for more when it does not, so that the host hears of it.
        fn reaches(&self, end: usize) -> bool {
            let size = memory_size(0) * PAGE_BYTES;
            end <= size || memory_grow(0, (end - size).div_ceil(PAGE_BYTES)) != usize::MAX
        }
    }

    // SAFETY: allocations do not overlap, because `top` only moves back over freed ones; they are aligned and inside memory.
    unsafe impl GlobalAlloc for Arena {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let top = if self.alive.get() == 0 { self.base() } else { self.top.get() };
            let place = top
                .checked_next_multiple_of(layout.align())
                .and_then(|start| Some((start, start.checked_add(layout.size())?)));
            match place {
                Some((start, end)) if self.reaches(end) => {
                    self.top.set(end);
                    self.alive.set(self.alive.get() + 1);
                    core::ptr::with_exposed_provenance_mut(start)
                }
                Some(_) | None => core::ptr::null_mut(),
            }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            self.alive.set(self.alive.get() - 1);
            if pointer.addr() + layout.size() == self.top.get() {
                self.top.set(pointer.addr());
            }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            let start = pointer.addr();
            if start + layout.size() == self.top.get() {
                // The newest allocation grows and shrinks where it is.
                return match start.checked_add(new_size) {
                    Some(end) if self.reaches(end) => {
                        self.top.set(end);
                        pointer
                    }
                    Some(_) | None => core::ptr::null_mut(),
                };
            }
            if new_size <= layout.size() {
                return pointer;
            }
            // SAFETY: the caller's promise: `new_size` is not 0 and fits an isize when rounded up to the alignment.
            let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            if !new.is_null() {
                // SAFETY: both are valid for the old size, and a new allocation overlaps no old one.
                unsafe {
                    core::ptr::copy_nonoverlapping(pointer, new, layout.size());
                    self.dealloc(pointer, layout);
                }
            }
            new
        }
    }

    pub(super) fn appended() -> &'static [u8] {
        let Descriptor { data_address, data_bytes, .. } = descriptor();
        if data_bytes == 0 {
            return &[];
        }
        // SAFETY: the builder put `data_bytes` bytes there that nothing writes to; the arena begins behind them.
        unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(data_address as usize), data_bytes as usize)
        }
    }

    /// As the builder patched it; volatile, because the compiler only knows the zeros.
    fn descriptor() -> Descriptor {
        // SAFETY: a valid static.
        unsafe { core::ptr::read_volatile(&raw const selvedge_descriptor) }
    }
}
