import { useTranslation } from 'react-i18next';
import type { en } from '../i18n/en';

type EngineRole = keyof typeof en.status.engine;
type EngineState = keyof typeof en.status.state;

/** The names of engines' roles and states in the page's language; a later server's new ones stay as it says them. */
export function useEngineWords() {
  const { t, i18n } = useTranslation();
  const hasRole = (role: string): role is EngineRole => role !== '' && i18n.exists(`status.engine.${role}`);
  const hasState = (state: string): state is EngineState => state !== '' && i18n.exists(`status.state.${state}`);
  return {
    roleName: (role: string): string => (hasRole(role) ? t(`status.engine.${role}`) : role),
    stateName: (state: string, percent: number | null): string => {
      if (state === 'loading' && percent !== null && percent > 0) return t('status.loaded', { percent });
      return hasState(state) ? t(`status.state.${state}`) : state;
    },
  };
}
