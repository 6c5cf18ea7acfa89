import { ApiError } from '../api/client';

/** Which words tell why history could not be shown. */
export function problemKey(error: unknown) {
  if (!(error instanceof ApiError)) return 'history.errorBroken' as const;
  const keys = {
    unreachable: 'history.errorUnreachable',
    'not-found': 'history.errorNotFound',
    key: 'history.errorKey',
    broken: 'history.errorBroken',
  } as const;
  return keys[error.kind];
}
