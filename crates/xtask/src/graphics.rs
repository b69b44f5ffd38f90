//! The Vulkan driver for native GPU tests: the machine's own, or lavapipe where there is no GPU.

use crate::process::{command, find, run};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Debian's and Ubuntu's package with lavapipe, which brings the Vulkan loader too.
const PACKAGE: &str = "mesa-vulkan-drivers";

/// The environment that native GPU tests need: nothing, or the one that names lavapipe.
pub(crate) fn environment() -> Vec<(String, String)> {
    software_driver()
        .map(|driver| (DRIVERS.to_owned(), driver.to_string_lossy().into_owned()))
        .into_iter()
        .collect()
}

/// Installs lavapipe where Linux has neither a GPU nor lavapipe.
pub(crate) fn install() -> Result<()> {
    if !needs_software() || software_driver().is_some() {
        return Ok(());
    }
    install_packages(&[PACKAGE]).context(
        "there is no GPU here, so native GPU tests need lavapipe, a software Vulkan driver",
    )
}

/// Installs Debian packages, or says how to.
pub(crate) fn install_packages(packages: &[&str]) -> Result<()> {
    let line = format!(
        "apt-get update && apt-get install -y {}",
        packages.join(" ")
    );
    let is_root = std::env::var("USER").is_ok_and(|user| user == "root") || is_root_by_id();
    if find(&["apt-get"]).is_none() {
        bail!(
            "install what Debian calls {} by this system's package manager",
            packages.join(" ")
        );
    }
    if !is_root {
        bail!("only root may install it; run this once:\n  sudo sh -c '{line}'");
    }
    run(command("apt-get").arg("update"))?;
    run(command("apt-get")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// What the Vulkan loader reads its drivers from.
const DRIVERS: &str = "VK_ICD_FILENAMES";

fn is_root_by_id() -> bool {
    crate::process::capture(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Linux without a GPU, and nobody has chosen a driver.
fn needs_software() -> bool {
    let chosen = [DRIVERS, "VK_DRIVER_FILES"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    cfg!(target_os = "linux") && !chosen && !has_gpu(Path::new("/dev"))
}

/// Render nodes, NVIDIA's own devices, and WSL's.
fn has_gpu(dev: &Path) -> bool {
    let names = |folder: PathBuf| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    names(dev.join("dri"))
        .iter()
        .any(|name| name.starts_with("renderD"))
        || names(dev.to_owned())
            .iter()
            .any(|name| name == "dxg" || name == "nvidia0")
}

fn software_driver() -> Option<PathBuf> {
    if !needs_software() {
        return None;
    }
    [
        "/usr/share/vulkan/icd.d",
        "/usr/local/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
    ]
    .iter()
    .find_map(|folder| {
        let mut drivers: Vec<PathBuf> = std::fs::read_dir(folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        drivers.sort();
        drivers.into_iter().find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_known_by_its_device_file() {
        for (file, expected) in [
            ("dri/renderD128", true),
            ("dri/card0", false),
            ("nvidia0", true),
            ("dxg", true),
            ("null", false),
        ] {
            let dev = tempfile::tempdir().unwrap();
            std::fs::create_dir(dev.path().join("dri")).unwrap();
            std::fs::write(dev.path().join(file), "").unwrap();
            assert_eq!(has_gpu(dev.path()), expected, "{file}");
        }
    }
}
