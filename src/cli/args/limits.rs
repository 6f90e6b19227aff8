//! Memory limit and number of threads: parsing of sizes, and defaults.

use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// Minimum memory limit, in bytes.
pub(crate) const MIN_MEMORY: u64 = 512_000_000;
/// Maximum number of parallel tasks.
pub(crate) const MAX_THREADS: u16 = 512;
/// Default memory per thread, in bytes.
const MEMORY_A_THREAD: u64 = 256 * MIB;

/// Reads `--memory-limit`: a size of at least 512 MB.
pub(crate) fn parse_memory_limit(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < MIN_MEMORY {
        return Err("at least 512MB are needed".to_owned());
    }
    Ok(bytes)
}

/// Reads `512MiB`, `2GB`, `1.5GiB` or plain bytes; a fraction of a byte is dropped.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "write a size as 512MiB, 2GB, 1.5GiB, or in bytes".to_owned();
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: u128 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u128.pow(2),
        "gb" => 1000_u128.pow(3),
        "tb" => 1000_u128.pow(4),
        "kib" => 1024,
        "mib" => 1024_u128.pow(2),
        "gib" => 1024_u128.pow(3),
        "tib" => 1024_u128.pow(4),
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // 12 digits either side: the products stay far below 128 bits.
    let has_point = number.contains('.');
    if whole.is_empty() || (has_point && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 12 {
        return Err(wrong());
    }
    let too_large = || "this is more than any machine has".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let mut bytes = u128::from(whole) * unit;
    if let Ok(digits) = fraction.parse::<u64>() {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
        bytes += u128::from(digits) * unit / scale;
    }
    u64::try_from(bytes).map_err(|_| too_large())
}

/// Default number of threads: as many as the machine or container can run.
pub(crate) fn default_threads() -> u16 {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(available).unwrap_or(MAX_THREADS).min(MAX_THREADS)
}

/// Default memory limit: 256 MiB per thread, at most half of the machine's or container's memory, and never less than
/// 512 MB.
pub(crate) fn default_memory(threads: u16) -> u64 {
    share(threads, memory_below(Path::new("/")))
}

fn share(threads: u16, machine: Option<u64>) -> u64 {
    let wanted = u64::from(threads) * MEMORY_A_THREAD;
    machine.map_or(wanted, |bytes| wanted.min(bytes / 2)).max(MIN_MEMORY)
}

/// Minimum of the machine's memory and the limits of this process's control groups, as Linux shows them in files below
/// `root`; `None` on other systems.
fn memory_below(root: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(&root.join("proc/meminfo")).as_deref().and_then(total_of_meminfo);
    let mut least = machine;
    for line in read(&root.join("proc/self/cgroup")).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // Inside a container the path may be the host's. The container's own limit is then in the base folder.
        let mut folder = base.clone();
        let mut folders = vec![folder.clone()];
        for name in path.split('/').filter(|name| !name.is_empty() && *name != "." && *name != "..") {
            folder.push(name);
            folders.push(folder.clone());
        }
        for folder in folders {
            let limit = read(&folder.join(file)).and_then(|text| text.trim().parse::<u64>().ok());
            least = least.into_iter().chain(limit).min();
        }
    }
    least
}

/// `MemTotal` in bytes.
fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        for (text, bytes) in [
            ("512MiB", 536_870_912),
            ("512MB", 512_000_000),
            ("2GiB", 2_147_483_648),
            ("1.5GiB", 1_610_612_736),
            ("0.1GB", 100_000_000),
            ("1.000000000001TB", 1_000_000_000_001),
            ("2 gib", 2_147_483_648),
            ("536870912", 536_870_912),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "MiB", "1.", ".5GiB", "1.2.3GB", "-1GB", "2G", "2 giga", "1e9", "18446744073709551616", "20000000TiB"]
        {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_memory_limit("511MB"), Err("at least 512MB are needed".to_owned()));
        assert_eq!(parse_memory_limit("512MB"), Ok(MIN_MEMORY));
    }

    #[test]
    fn the_default_is_a_share_of_the_machine() {
        assert_eq!(share(8, Some(64 << 30)), 2 << 30);
        assert_eq!(share(64, Some(16 << 30)), 8 << 30);
        assert_eq!(share(1, Some(64 << 30)), MIN_MEMORY);
        assert_eq!(share(4, Some(512 << 20)), MIN_MEMORY);
        assert_eq!(share(4, None), 1 << 30);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(memory_below(root.path()), None);
        put("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");
        assert_eq!(memory_below(root.path()), Some(16_384_000_000));
        put("proc/self/cgroup", "5:cpu,memory:/docker/abc\n0::/a/b\n");
        put("sys/fs/cgroup/a/memory.max", "4000000000\n");
        put("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(memory_below(root.path()), Some(4_000_000_000));
        put("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000000\n");
        put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_below(root.path()), Some(3_000_000_000));
    }
}
