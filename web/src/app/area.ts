/** The page's parts, in the order of the navigation. */
export const areas = ['talk', 'history', 'voices', 'status'] as const;
export type Area = (typeof areas)[number];

export const pathOf: Record<Area, string> = { talk: '/', history: '/history', voices: '/voices', status: '/status' };

/** Which part an address belongs to; `null`: none. */
export function areaOf(path: string): Area | null {
  if (path === '/') return 'talk';
  return areas.find((area) => area !== 'talk' && (path === pathOf[area] || path.startsWith(`${pathOf[area]}/`))) ?? null;
}
