//! What the program can be built for.

use clap::ValueEnum;

macro_rules! devices {
    ($($(#[$about:meta])* $name:ident = $text:literal,)*) => {
        /// A backend, which is a feature of the program and a device of a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
        pub enum Backend {
            $($(#[$about])* #[value(name = $text)] $name,)*
        }

        impl Backend {
            /// The name of the feature and of the device.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

// The list stands where the configuration has it: the trainer itself would be built for minutes.
include!("../../../crates/train/src/config/devices.rs");
