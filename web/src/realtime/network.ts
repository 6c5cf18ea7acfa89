/** Where the browser tells which kind of network it is on: another kind is another network. `changed` is told of it. */
export function watchNetwork(changed: () => void): void {
  const network = (navigator as { connection?: EventTarget & { type?: string } }).connection;
  let type = network?.type;
  network?.addEventListener('change', () => {
    if (network.type === type) return;
    type = network.type;
    changed();
  });
}
