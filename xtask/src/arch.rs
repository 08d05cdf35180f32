//! The two architectures tracer is built for, and their names in each of the worlds that name them differently.

use clap::ValueEnum;

/// A target architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Arch {
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Arch {
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture of this machine.
    pub fn native() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// The one that this machine has to cross-compile for.
    pub fn foreign() -> Self {
        match Self::native() {
            Self::X86_64 => Self::Aarch64,
            Self::Aarch64 => Self::X86_64,
        }
    }

    /// Programs for it run here: this is Linux on that architecture.
    pub fn is_native(self) -> bool {
        self == Self::native() && cfg!(target_os = "linux")
    }

    /// Those that this machine has to cross-compile for.
    pub fn cross() -> Vec<Self> {
        Self::ALL.into_iter().filter(|arch| !arch.is_native()).collect()
    }

    /// Rust's and the kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    pub fn gnu_triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    pub fn musl_triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Debian's cross compiler for this architecture.
    pub fn cross_gcc(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu-gcc",
            Self::Aarch64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// The usual name of a C compiler for [`Self::musl_triple`]; the crate `cc` looks for it.
    pub fn musl_gcc(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-musl-gcc",
            Self::Aarch64 => "aarch64-linux-musl-gcc",
        }
    }

    /// Debian's package with [`Self::cross_gcc`].
    pub fn cross_gcc_package(self) -> &'static str {
        match self {
            Self::X86_64 => "gcc-x86-64-linux-gnu",
            Self::Aarch64 => "gcc-aarch64-linux-gnu",
        }
    }

    /// The architecture for an Android ABI (`ro.product.cpu.abi`); none for the 32-bit ones.
    pub fn from_android_abi(abi: &str) -> Option<Self> {
        match abi {
            "arm64-v8a" => Some(Self::Aarch64),
            "x86_64" => Some(Self::X86_64),
            _ => None,
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_debian_and_of_rust_are_both_accepted() {
        assert_eq!(Arch::from_str("amd64", false), Ok(Arch::X86_64));
        assert_eq!(Arch::from_str("x86_64", false), Ok(Arch::X86_64));
        assert_eq!(Arch::from_str("arm64", false), Ok(Arch::Aarch64));
        assert!(Arch::from_str("armhf", false).is_err());
    }

    #[test]
    fn a_32_bit_device_has_no_architecture() {
        assert_eq!(Arch::from_android_abi("arm64-v8a"), Some(Arch::Aarch64));
        assert_eq!(Arch::from_android_abi("armeabi-v7a"), None);
        assert_eq!(Arch::from_android_abi(""), None);
    }
}
