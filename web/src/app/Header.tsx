import { Activity, AudioLines, History, Mic, Moon, Sun, type LucideIcon } from 'lucide-react';
import { useTranslation } from 'react-i18next';
import { Link, useLocation } from 'wouter';
import type { Language } from '../i18n';
import { StatusBadge } from '../status/StatusBadge';
import { areaOf, areas, pathOf, type Area } from './area';
import { useCallView } from './call-context';
import styles from './Header.module.css';
import { chooseLanguage, chooseTheme, useTheme } from './preferences';

const icons: Record<Area, LucideIcon> = { talk: Mic, history: History, voices: AudioLines, status: Activity };

export function Header() {
  const { t, i18n } = useTranslation();
  const [path] = useLocation();
  const { phase } = useCallView();
  const theme = useTheme();
  const here = areaOf(path);
  const onCall = phase.kind === 'live' || phase.kind === 'reconnecting';
  const other: Language = i18n.language === 'en' ? 'zh-Hant' : 'en';

  return (
    <header className={styles.header}>
      <Link href="/" className={styles.brand} aria-label={t('app.name')}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="10" />
          <path d="M8.5 14v4M13.5 10.5v11M18.5 7.5v17M23.5 13v6" />
        </svg>
        <span>{t('app.name')}</span>
      </Link>

      <nav className={styles.nav} aria-label={t('app.nav')}>
        {areas.map((area) => {
          const Icon = icons[area];
          return (
            <Link key={area} href={pathOf[area]} aria-current={here === area ? 'page' : undefined} data-testid={`nav-${area}`}>
              <Icon size={20} strokeWidth={1.9} aria-hidden="true" />
              {t(`app.${area}`)}
              {area === 'talk' && onCall && here !== 'talk' && (
                <span className={styles.onCall}>
                  <span className="visually-hidden">{t('app.onCall')}</span>
                </span>
              )}
            </Link>
          );
        })}
      </nav>

      <div className={styles.tools}>
        <StatusBadge />
        <button
          type="button"
          className={styles.tool}
          lang={other === 'en' ? 'en' : 'zh-Hant-TW'}
          aria-label={t('app.switchLanguage')}
          title={t('app.switchLanguage')}
          data-testid="switch-language"
          onClick={() => chooseLanguage(other)}
        >
          <span aria-hidden="true" className={styles.glyph}>
            {other === 'en' ? 'EN' : '中'}
          </span>
        </button>
        <button
          type="button"
          className={styles.tool}
          aria-label={t(theme === 'dark' ? 'app.toLight' : 'app.toDark')}
          title={t(theme === 'dark' ? 'app.toLight' : 'app.toDark')}
          data-testid="switch-theme"
          onClick={() => chooseTheme(theme === 'dark' ? 'light' : 'dark')}
        >
          {theme === 'dark' ? <Sun size={18} aria-hidden="true" /> : <Moon size={18} aria-hidden="true" />}
        </button>
      </div>
    </header>
  );
}
