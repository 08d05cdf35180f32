//! `build`: the static binary of tracer, checked to be one.
//!
//! The binary that is shipped, the one that runs in the guests and the one that is deployed all come from
//! [`tracer`], so that they are the same file.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    arch::Arch,
    elf,
    setup::{self, Group},
    shell, toolchain, workspace,
    zig::Zig,
};

#[derive(Args)]
pub struct BuildArgs {
    /// Architecture to build for
    #[arg(long, value_enum, default_value_t = Arch::native())]
    target: Arch,
    /// Build without optimization, into target/packages/ARCH/tracer-debug
    #[arg(long)]
    debug: bool,
}

pub fn run(args: &BuildArgs) -> Result<ExitCode> {
    ensure_toolchain(args.target)?;
    let binary = tracer(args.target, if args.debug { Profile::Dev } else { Profile::Dist })?;
    println!("{}", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// Installs what a static build for `arch` needs.
///
/// # Errors
/// When it cannot be installed: which file to use instead.
pub fn ensure_toolchain(arch: Arch) -> Result<()> {
    setup::ensure(Group::for_target(arch))
        .with_context(|| format!("cannot build for {arch}; {}", remedy(arch)))
}

fn remedy(arch: Arch) -> String {
    format!(
        "run `cargo xtask setup --for cross`, or use `tracer` from tracer-VERSION-linux-{arch}.tar.gz of a release \
         (`cargo xtask deploy --binary FILE`)"
    )
}

/// A profile of the workspace's Cargo.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Fast build with overflow checks and debug assertions.
    Dev,
    /// What is shipped.
    Dist,
}

impl Profile {
    /// Cargo's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Dist => "dist",
        }
    }
}

/// Builds tracer for this machine as cargo alone would, and returns its path. Not necessarily static: a C library to
/// link statically is missing on many machines.
///
/// # Errors
/// When the build fails.
pub fn host_tracer(profile: Profile) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "tracer", "--bin", "tracer", "--profile", profile.name()]);
    let built = workspace::build_executables(cargo)?;
    built.into_iter().find(|e| e.name == "tracer").map(|e| e.path).context("cargo built no binary `tracer`")
}

/// Builds tracer for `arch` and returns the path of the finished binary below `target/packages/`.
///
/// # Errors
/// When something to build with is missing, the build fails, or its result is not what a device can run.
pub fn tracer(arch: Arch, profile: Profile) -> Result<PathBuf> {
    let begin = Instant::now();
    let mut cargo = cargo_static(arch, "build")?;
    cargo.args(["--package", "tracer", "--bin", "tracer", "--profile", profile.name()]);
    let built = workspace::build_executables(cargo)?;
    let binary = built.iter().find(|e| e.name == "tracer").context("cargo built no binary `tracer`")?;
    elf::check(&binary.path, arch)?;
    let name = if profile == Profile::Dist { "tracer" } else { "tracer-debug" };
    let place = workspace::dist().join(arch.name()).join(name);
    install(&binary.path, &place)?;
    shell::say(format!("{} in {}", place.display(), shell::took(begin.elapsed())));
    Ok(place)
}

/// Copies a binary to its place by a rename, so that a running copy is not disturbed.
fn install(from: &Path, to: &Path) -> Result<()> {
    let directory = to.parent().context("the place of the binary has no directory")?;
    workspace::create_dir(directory)?;
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh)
        .with_context(|| format!("could not copy {} to {}", from.display(), fresh.display()))?;
    fs::rename(&fresh, to)
        .with_context(|| format!("could not rename {} to {}", fresh.display(), to.display()))
}

/// How programs for the user space of an architecture are compiled and linked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToolchain {
    triple: &'static str,
    /// None: the compiler that cargo would take anyway.
    rustc: Option<PathBuf>,
    linker: Option<&'static str>,
    /// Compiles SQLite. None: the C compiler that the crate `cc` finds for this target.
    zig: Option<Zig>,
}

impl fmt::Display for UserToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rustc = self.rustc.as_deref().unwrap_or(Path::new("rustc"));
        write!(f, "{} for {}", rustc.display(), self.triple)?;
        self.zig.as_ref().map_or(Ok(()), |zig| write!(f, ", {} for C", zig.program().display()))
    }
}

/// The toolchain for static programs for `arch`, best first; `None` if this machine cannot build for it.
pub fn user_toolchain(arch: Arch) -> Option<UserToolchain> {
    if arch.is_native() {
        // libc6-dev brings the static libc.
        return Some(UserToolchain { triple: arch.gnu_triple(), rustc: None, linker: None, zig: None });
    }
    let current = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    // The target brings its own libc and start files, so any linker for ELF does. Only C code needs a C compiler.
    let has_c = shell::find_program(arch.musl_gcc()).is_some();
    let zig = if has_c { None } else { Zig::find(arch) };
    if has_std(&current, arch.musl_triple()) && (has_c || zig.is_some()) {
        return Some(UserToolchain {
            triple: arch.musl_triple(),
            rustc: None,
            linker: Some("rust-lld"),
            zig,
        });
    }
    let system = PathBuf::from(toolchain::SYSTEM_RUSTC);
    let linker = arch.cross_gcc();
    let complete = has_std(&system, arch.gnu_triple()) && shell::find_program(linker).is_some();
    complete.then_some(UserToolchain {
        triple: arch.gnu_triple(),
        rustc: Some(system),
        linker: Some(linker),
        zig: None,
    })
}

/// The compiler has a standard library for that target.
fn has_std(rustc: &Path, triple: &str) -> bool {
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", triple]);
    let Ok(libdir) = shell::capture(&mut command) else { return false };
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    let Ok(entries) = fs::read_dir(libdir.trim()) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_std))
}

/// `cargo SUBCOMMAND --target …` with everything that makes the result static, for tracer and for the tests that run
/// in a guest.
///
/// # Errors
/// When this machine cannot build for `arch`.
pub fn cargo_static(arch: Arch, subcommand: &str) -> Result<Command> {
    let Some(toolchain) = user_toolchain(arch) else {
        bail!("cannot build for {arch}: no toolchain; {}", remedy(arch));
    };
    let mut cargo = workspace::cargo();
    cargo.args([subcommand, "--target", toolchain.triple]);
    if let Some(rustc) = &toolchain.rustc {
        cargo.env("RUSTC", rustc);
    }
    if let Some(linker) = toolchain.linker {
        let variable = format!("CARGO_TARGET_{}_LINKER", toolchain.triple.replace('-', "_").to_uppercase());
        cargo.env(variable, linker);
    }
    if let Some(zig) = &toolchain.zig {
        let variable = toolchain.triple.replace('-', "_");
        cargo
            .env(format!("CC_{variable}"), zig.script("cc")?)
            .env(format!("AR_{variable}"), zig.script("ar")?);
    }
    // One set of flags, not added to what the caller's shell has: the same source must give the same binary. Paths go
    // for the same reason; they would otherwise be in the messages of panics.
    let remap = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        remap(&workspace::root(), "tracer"),
        remap(&toolchain::cargo_home().join("registry/src"), "registry"),
    ];
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    Ok(cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_target_needs_no_other_compiler() {
        let toolchain = user_toolchain(Arch::native()).unwrap();
        assert_eq!(toolchain.rustc, None);
        assert_eq!(toolchain.triple, Arch::native().gnu_triple());
    }

    #[test]
    fn a_compiler_without_the_target_has_no_std_for_it() {
        assert!(!has_std(Path::new("rustc"), "no-such-target"));
        assert!(!has_std(Path::new("/does/not/exist"), Arch::native().gnu_triple()));
        assert!(has_std(Path::new("rustc"), Arch::native().gnu_triple()));
    }

    #[test]
    fn an_installed_binary_replaces_the_old_one_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("deep/tracer"));
        for content in ["first", "second"] {
            fs::write(&from, content).unwrap();
            install(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    }
}
