import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/http';
import type { en } from '../i18n/en';

type Code = keyof typeof en.problem.code;

/** Puts an error into plain words: the page's own for what it knows, the server's for what it refused with a reason. */
export function useProblem(): (error: unknown) => string {
  const { t, i18n } = useTranslation();
  const known = (code: string): code is Code => code !== '' && i18n.exists(`problem.code.${code}`);
  return (error) => {
    if (!(error instanceof ApiError)) return t('problem.broken');
    if (known(error.code)) return t(`problem.code.${error.code}`);
    switch (error.kind) {
      case 'limited':
        return error.code === 'quota_exceeded'
          ? t('problem.quota')
          : t('problem.limited', { count: error.retryAfter ?? 10 });
      case 'refused':
        return error.message === '' ? t('problem.refused') : t('problem.refusedWith', { message: error.message });
      case 'unreachable':
      case 'not-found':
      case 'key':
      case 'broken':
        return t(`problem.${error.kind}`);
    }
  };
}
