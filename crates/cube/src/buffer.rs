//! Buffers in a device's memory.

use cubecl::prelude::BufferArg;
use cubecl::server::Handle;

/// A buffer of `len` numbers in a device's memory.
#[derive(Debug, Clone)]
pub struct Buffer {
    handle: Handle,
    len: usize,
}

impl Buffer {
    /// The numbers at a handle, which holds at least `len` of the format that the kernel is told.
    pub fn new(handle: Handle, len: usize) -> Self {
        Self { handle, len }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(all(test, feature = "wgpu"))]
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn arg(&self) -> BufferArg {
        // Safety: `new` asks for so many numbers, and kernels are launched with their bounds checked.
        #[expect(unsafe_code, reason = "CubeCL takes a buffer's length on trust")]
        unsafe {
            BufferArg::from_raw_parts(self.handle.clone(), self.len)
        }
    }
}
