//! Kernels for the guests: fetched once from Debian, reduced to the image and the few modules the tests use, and kept
//! under `target/vm/KERNEL-ARCH/`.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::{Series, apt::Archive, module};
use crate::{arch::Arch, shell, workspace};

/// What the tests use beyond what is built in: interfaces to send through, and sock_diag.
const MODULES: [&str; 5] = ["veth", "dummy", "inet_diag", "tcp_diag", "udp_diag"];
const IMAGE: &str = "vmlinuz";
/// Names of the modules, one a line, in the order of insertion.
const ORDER: &str = "modules.order";
/// Name and version of the package.
const PACKAGE: &str = "package";

/// A kernel ready to be booted.
#[derive(Debug)]
pub struct Kernel {
    pub package: String,
    pub image: PathBuf,
    /// Uncompressed modules in the order of insertion.
    pub modules: Vec<PathBuf>,
}

/// The kernel of a series, from the cache or from Debian's archive.
///
/// # Errors
/// When it cannot be fetched or unpacked.
pub fn obtain(series: Series, arch: Arch, refresh: bool) -> Result<Kernel> {
    let place = workspace::target().join("vm").join(format!("{series}-{}", arch.debian()));
    if refresh || !place.join(PACKAGE).is_file() {
        fetch(series, arch, &place)?;
    }
    read(&place)
}

fn read(place: &Path) -> Result<Kernel> {
    let text = |name: &str| {
        let path = place.join(name);
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    };
    Ok(Kernel {
        package: text(PACKAGE)?.trim().to_owned(),
        image: place.join(IMAGE),
        modules: text(ORDER)?.lines().map(|name| place.join(format!("{name}.ko"))).collect(),
    })
}

fn fetch(series: Series, arch: Arch, place: &Path) -> Result<()> {
    let begin = Instant::now();
    shell::say(format!("fetching Debian's kernel {series} for {arch}"));
    let archive = Archive::open(series.suite())?;
    let meta = format!("linux-image-cloud-{}", arch.debian());
    let package = archive.resolve(&meta, "linux-image-", arch)?;
    // Everything happens beside the final place, so that an interrupted fetch leaves no half kernel there.
    let fresh = place.with_extension("new");
    remove_dir(&fresh)?;
    workspace::create_dir(&fresh)?;
    let file = archive.download(&package, arch, &fresh)?;
    unpack(&file, &fresh).with_context(|| format!("unpacking {}", file.display()))?;
    fs::remove_file(&file).with_context(|| format!("could not remove {}", file.display()))?;
    let name = format!("{} {}\n", package.name, package.version.unwrap_or_default());
    fs::write(fresh.join(PACKAGE), name)
        .with_context(|| format!("could not write to {}", fresh.display()))?;
    remove_dir(place)?;
    fs::rename(&fresh, place).with_context(|| format!("could not rename to {}", place.display()))?;
    shell::say(format!("{} in {}", package.name, shell::took(begin.elapsed())));
    Ok(())
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Takes the image and the wanted modules out of a package.
fn unpack(package: &Path, directory: &Path) -> Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start dpkg-deb")?;
    let stdout = child.stdout.take().context("dpkg-deb has no stdout")?;
    let content = read_tar(stdout);
    let status = child.wait().context("could not wait for dpkg-deb")?;
    let content = content?;
    if !status.success() {
        bail!("dpkg-deb failed ({status})");
    }
    let image = content.image.as_deref().context("it has no boot/vmlinuz-*")?;
    fs::write(directory.join(IMAGE), image).with_context(|| format!("could not write {IMAGE}"))?;
    let wanted: Vec<_> =
        MODULES.into_iter().filter(|name| !content.builtin.iter().any(|b| b == name)).collect();
    let order = module::load_order(&wanted, &content.graph()?)?;
    for name in &order {
        let bytes = content.modules.get(name).with_context(|| format!("module {name} vanished"))?;
        fs::write(directory.join(format!("{name}.ko")), bytes)
            .with_context(|| format!("could not write module {name}"))?;
    }
    fs::write(directory.join(ORDER), order.join("\n") + "\n")
        .with_context(|| format!("could not write {ORDER}"))
}

/// What matters of a kernel package.
#[derive(Default)]
struct Content {
    image: Option<Vec<u8>>,
    /// By name, decompressed: all network modules, because only they themselves say what they depend on.
    modules: BTreeMap<String, Vec<u8>>,
    /// Names of what is no module here.
    builtin: Vec<String>,
}

impl Content {
    fn graph(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let edges = self.modules.iter().map(|(name, bytes)| {
            let depends = module::depends(bytes).with_context(|| format!("module {name}"))?;
            Ok((name.clone(), depends))
        });
        edges.collect()
    }
}

fn read_tar(tar: impl std::io::Read) -> Result<Content> {
    let mut content = Content::default();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().context("could not read the package")? {
        let mut entry = entry.context("could not read the package")?;
        let path = entry.path().context("an entry has no readable name")?.display().to_string();
        let path = path.trim_start_matches("./");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut read = || {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).with_context(|| format!("could not read {path}"))?;
            Ok::<_, anyhow::Error>(bytes)
        };
        if path.starts_with("boot/vmlinuz-") {
            content.image = Some(read()?);
        } else if path.ends_with("/modules.builtin") {
            let text = String::from_utf8_lossy(&read()?).into_owned();
            content.builtin = text.lines().filter_map(module::name_of).collect();
        } else if is_network_module(path)
            && let Some(name) = module::name_of(path)
        {
            let bytes = read()?;
            let bytes = if path.ends_with(".xz") { decompress(&bytes, path)? } else { bytes };
            content.modules.insert(name, bytes);
        }
    }
    Ok(content)
}

fn is_network_module(path: &str) -> bool {
    (path.contains("/kernel/net/") || path.contains("/kernel/drivers/net/")) && path.contains(".ko")
}

fn decompress(bytes: &[u8], path: &str) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    lzma_rust2::XzReader::new(bytes, true)
        .read_to_end(&mut plain)
        .with_context(|| format!("could not decompress {path}"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn only_the_image_and_network_modules_are_read() {
        let content = read_tar(
            &package(&[
                ("./boot/vmlinuz-6.1.0", b"image"),
                ("./boot/config-6.1.0", b"no"),
                ("./lib/modules/6.1.0/kernel/drivers/net/veth.ko", b"veth"),
                ("./usr/lib/modules/6.12/kernel/net/ipv4/tcp_diag.ko", b"diag"),
                ("./lib/modules/6.1.0/kernel/fs/ext4/ext4.ko", b"no"),
                ("./lib/modules/6.1.0/modules.builtin", b"kernel/drivers/net/dummy.ko\n"),
            ])[..],
        )
        .unwrap();
        assert_eq!(content.image.as_deref(), Some(&b"image"[..]));
        assert_eq!(content.modules.keys().collect::<Vec<_>>(), ["tcp_diag", "veth"]);
        assert_eq!(content.builtin, ["dummy"]);
    }

    #[test]
    fn a_compressed_module_is_kept_decompressed() {
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, b"module").unwrap();
        let xz = writer.finish().unwrap();
        let content =
            read_tar(&package(&[("./usr/lib/modules/6.12/kernel/net/a-b.ko.xz", &xz)])[..]).unwrap();
        assert_eq!(content.modules.get("a_b").map(Vec::as_slice), Some(&b"module"[..]));
    }

    #[test]
    fn a_damaged_module_is_an_error_that_names_it() {
        let error = read_tar(&package(&[("./usr/lib/modules/6.12/kernel/net/x.ko.xz", b"not xz")])[..])
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("net/x.ko.xz"), "{error:#}");
    }
}
