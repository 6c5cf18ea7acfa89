//! Which cards there are and how much of their memory is free, asked of the driver without linking it: NVIDIA's management library
//! where it can be loaded, else the program `nvidia-smi`, else what Linux says of AMD's cards. Nothing there means no card.

use std::path::Path;
use std::process::{Command, Stdio};

use super::nvml;
use super::place::{Place, Wanted};
use super::plan::{Card, Machine};

const MIB: u64 = 1 << 20;

/// NVIDIA's cards, whether or not this build can compute on them.
pub fn nvidia() -> Vec<Card> {
    let cards = nvml::cards().or_else(ask_program).unwrap_or_default();
    visible(cards, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
}

/// The rooms that this build can use and the configuration allows.
pub fn machine(wanted: Wanted) -> Machine {
    let memory = main_memory();
    let mut cards = if Place::Cuda(0).is_built_in() { nvidia() } else { Vec::new() };
    if Place::Metal.is_built_in() {
        cards.extend(memory.map(|free| {
            // One memory for both; the system gives a card's programs about two thirds of it.
            let share = free / 3 * 2;
            Card { place: Place::Metal, name: "shared with the processor".to_owned(), total: share, free: share }
        }));
    }
    if Place::Vulkan.is_built_in() && cards.is_empty() {
        let nvidia = nvidia().into_iter().map(|card| Card { place: Place::Vulkan, ..card });
        cards.extend(nvidia.chain(amd(Path::new("/sys/class/drm"))).next());
    }
    cards.retain(|card| wanted.allows(card.place));
    Machine { cards, memory }
}

/// Main memory that is free or can be freed; `None` where the system does not say.
pub fn main_memory() -> Option<u64> {
    if cfg!(target_os = "macos") {
        // What is free is not told in one number; half of what there is leaves the system its own.
        let total: u64 = answer("sysctl", &["-n", "hw.memsize"])?.trim().parse().ok()?;
        return Some(total / 2);
    }
    let free = available(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(limit(Path::new("/sys/fs/cgroup")).map_or(free, |limit| free.min(limit)))
}

/// What a container may still take (cgroup version 2).
fn limit(folder: &Path) -> Option<u64> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// `MemAvailable` of `/proc/meminfo`, bytes.
pub fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ask_program() -> Option<Vec<Card>> {
    let query = ["--query-gpu=index,memory.total,memory.free,name", "--format=csv,noheader,nounits"];
    Some(listed(&answer("nvidia-smi", &query)?))
}

/// The cards in `nvidia-smi`'s answer: `0, 24564, 23989, NVIDIA GeForce RTX 4090`, sizes in MiB.
fn listed(text: &str) -> Vec<Card> {
    let card = |line: &str| {
        let mut fields = line.splitn(4, ',').map(str::trim);
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (index, total, free) = (number()?, number()?, number()?);
        let name = fields.next()?.to_owned();
        let place = Place::Cuda(usize::try_from(index).ok()?);
        Some(Card { place, name, total: total.checked_mul(MIB)?, free: free.checked_mul(MIB)? })
    };
    text.lines().filter_map(card).collect()
}

/// CUDA counts only the cards that the environment names, in its order. Names other than numbers are taken for all, since only the
/// driver can read them.
fn visible(cards: Vec<Card>, named: Option<&str>) -> Vec<Card> {
    let Some(named) = named else { return cards };
    let mut seen = Vec::new();
    for word in named.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word.parse::<usize>() {
            Ok(index) => match cards.iter().find(|card| card.place == Place::Cuda(index)) {
                Some(card) => seen.push(Card { place: Place::Cuda(seen.len()), ..card.clone() }),
                None => break,
            },
            // As the driver has it: what comes after a wrong number is not seen.
            Err(_) if word.starts_with('-') => break,
            Err(_) => return cards,
        }
    }
    seen
}

/// Cards of the driver `amdgpu`.
fn amd(folder: &Path) -> Vec<Card> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let card = |path: &Path| {
        let number = |name: &str| std::fs::read_to_string(path.join("device").join(name)).ok()?.trim().parse().ok();
        let (total, used): (u64, u64) = (number("mem_info_vram_total")?, number("mem_info_vram_used")?);
        Some(Card { place: Place::Vulkan, name: "AMD".to_owned(), total, free: total.saturating_sub(used) })
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| card(path)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const TWO: &str = "0, 24564, 23989, NVIDIA GeForce RTX 4090\n1, 8192, 8000, NVIDIA RTX, odd name\n";

    #[test]
    fn what_nvidia_smi_says_is_understood_and_nonsense_is_no_card() {
        let cards = listed(TWO);
        assert_eq!((cards[0].place, cards[0].free), (Place::Cuda(0), 23_989 * MIB));
        assert_eq!(cards[1].name, "NVIDIA RTX, odd name");
        for nonsense in
            ["", "No devices were found\n", "0, [N/A], [N/A], GB10\n", "0, 1\n", "0, 99999999999999999999, 1, x"]
        {
            assert!(listed(nonsense).is_empty(), "{nonsense}");
        }
    }

    #[test]
    fn cards_hidden_from_cuda_are_not_planned_with() {
        let names = |named| {
            visible(listed(TWO), named).into_iter().map(|card| (card.place, card.total / MIB)).collect::<Vec<_>>()
        };
        let both = [(Place::Cuda(0), 24_564), (Place::Cuda(1), 8_192)];
        assert_eq!(names(None), both);
        assert_eq!(names(Some("GPU-5f")), both);
        assert_eq!(names(Some("1,0")), [(Place::Cuda(0), 8_192), (Place::Cuda(1), 24_564)]);
        assert_eq!(names(Some("0,7,1")), [(Place::Cuda(0), 24_564)]);
        for none in ["", "-1"] {
            assert!(names(Some(none)).is_empty());
        }
    }

    #[test]
    fn amds_cards_are_read_from_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("card0/device");
        std::fs::create_dir_all(&device).unwrap();
        assert!(amd(folder.path()).is_empty());
        std::fs::write(device.join("mem_info_vram_total"), "1000\n").unwrap();
        std::fs::write(device.join("mem_info_vram_used"), "400\n").unwrap();
        assert_eq!(amd(folder.path())[0].free, 600);
        assert!(amd(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn free_memory_is_read_as_the_kernel_writes_it_and_a_containers_limit_holds() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:   2097152 kB\n";
        assert_eq!(available(text), Some(2048 * MIB));
        assert_eq!(available(""), None);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("memory.max"), "max\n").unwrap();
        std::fs::write(folder.path().join("memory.current"), "300\n").unwrap();
        assert_eq!(limit(folder.path()), None);
        std::fs::write(folder.path().join("memory.max"), "1000\n").unwrap();
        assert_eq!(limit(folder.path()), Some(700));
    }

    #[test]
    fn a_build_for_the_processor_plans_with_no_card() {
        let machine = machine(Wanted::At(Place::Cpu));
        assert!(machine.cards.is_empty());
    }
}
