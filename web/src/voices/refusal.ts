import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/http';
import type { en } from '../i18n/en';
import { useProblem } from '../ui/problem';

type Code = keyof typeof en.voices.refusal;

/** Why a sample was not taken and what to do, in the page's language; the server's own words for what the page does not know. */
export function useRefusal(): (error: unknown) => string {
  const { t, i18n } = useTranslation();
  const say = useProblem();
  const known = (code: string): code is Code => code !== '' && i18n.exists(`voices.refusal.${code}`);
  return (error) => (error instanceof ApiError && error.kind === 'refused' && known(error.code) ? t(`voices.refusal.${error.code}`) : say(error));
}
