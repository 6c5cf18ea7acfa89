//! However a text gets into a cache (at once, in parts, one by one, after a cut, beside others), what follows is the same.

use super::*;

fn tokens(count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    (0..count).map(|_| (random.next() % 256) as u32).collect()
}

fn tiny() -> (tempfile::NamedTempFile, Network) {
    let file = on_disk(&Draft::new("llama").bytes());
    let network = network(file.path());
    (file, network)
}

#[test]
fn in_parts_or_one_by_one_as_at_once() {
    let (_file, network) = tiny();
    let tokens = tokens(300, 5);
    let whole = read(&network, &mut fresh(&network), &tokens, 300);
    for part in [1, 7, 64, 299] {
        let parts = read(&network, &mut fresh(&network), &tokens, part);
        assert!(largest_difference(&whole, &parts) < 1e-4, "in parts of {part}");
    }
}

#[test]
fn positions_are_right_after_a_cut() {
    let (_file, network) = tiny();
    let (first, second) = (tokens(280, 1), tokens(40, 2));
    let mut cache = fresh(&network);
    read(&network, &mut cache, &first, 64);
    for kept in [0, 1, 100, 256, 280] {
        cache.truncate(kept);
        let after_cut = read(&network, &mut cache, &second, 16);
        let from_scratch = read(&network, &mut fresh(&network), &[&first[..kept], &second].concat(), 512);
        assert!(largest_difference(&after_cut, &from_scratch) < 1e-4, "{kept} kept");
        cache.truncate(0);
        read(&network, &mut cache, &first, 64);
    }
}

#[test]
fn a_copied_beginning_is_as_good_and_leaves_the_original_alone() {
    let (_file, network) = tiny();
    let (first, second) = (tokens(90, 3), tokens(10, 4));
    let mut original = fresh(&network);
    read(&network, &mut original, &first, 64);
    let mut copy = original.prefix(70).unwrap();
    let copied = read(&network, &mut copy, &second, 64);
    let expected = read(&network, &mut fresh(&network), &[&first[..70], &second].concat(), 512);
    assert!(largest_difference(&copied, &expected) < 1e-4);
    let untouched = read(&network, &mut original, &second, 64);
    let expected = read(&network, &mut fresh(&network), &[&first[..], &second].concat(), 512);
    assert!(largest_difference(&untouched, &expected) < 1e-4);
}

#[test]
fn conversations_read_in_one_batch_do_not_mix() {
    let (_file, network) = tiny();
    let pasts = [tokens(33, 6), tokens(1, 7), tokens(120, 8)];
    let news = [tokens(1, 9), tokens(20, 10), tokens(5, 11)];
    let mut caches: Vec<KvCache> = pasts
        .iter()
        .map(|past| {
            let mut cache = fresh(&network);
            read(&network, &mut cache, past, 64);
            cache
        })
        .collect();
    let mut segments: Vec<Segment<'_>> = caches
        .iter_mut()
        .zip(&news)
        .enumerate()
        .map(|(index, (cache, tokens))| Segment { cache, tokens, wants_logits: index != 1 })
        .collect();
    let together = network.forward(&mut segments).unwrap();
    assert!(together[1].is_none());
    for index in [0, 2] {
        let alone = read(&network, &mut fresh(&network), &[&pasts[index][..], &news[index]].concat(), 512);
        assert!(largest_difference(together[index].as_ref().unwrap(), &alone) < 1e-4, "conversation {index}");
    }
    let silent = read(&network, &mut caches[1], &[42], 1);
    let alone = read(&network, &mut fresh(&network), &[&pasts[1][..], &news[1], &[42]].concat(), 512);
    assert!(largest_difference(&silent, &alone) < 1e-4, "the one whose logits nobody wanted");
}

#[test]
fn a_token_outside_the_vocabulary_is_an_error_and_advances_nothing() {
    let (_file, network) = tiny();
    let mut cache = fresh(&network);
    let segment = Segment { cache: &mut cache, tokens: &[1, 9_999], wants_logits: true };
    assert!(network.forward(&mut [segment]).is_err());
    assert_eq!(cache.len(), 0);
}
