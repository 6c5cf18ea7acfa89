import { lazy, Suspense, useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, Route, Switch, useLocation } from 'wouter';
import { TalkPage } from '../talk/TalkPage';
import { Empty } from '../ui/Empty';
import { Skeleton } from '../ui/Skeleton';
import { Toaster } from '../ui/toast';
import { Header } from './Header';
import { areaOf } from './area';
import { useNews } from './use-news';

// Talk is what most people come for; the rest comes when it is opened, or when the browser has nothing better to do.
const pages = {
  history: () => import('../history/HistoryPage'),
  voices: () => import('../voices/VoicesPage'),
  status: () => import('../status/StatusPage'),
};
const HistoryPage = lazy(() => pages.history().then(({ HistoryPage }) => ({ default: HistoryPage })));
const VoicesPage = lazy(() => pages.voices().then(({ VoicesPage }) => ({ default: VoicesPage })));
const StatusPage = lazy(() => pages.status().then(({ StatusPage }) => ({ default: StatusPage })));

function fetchAhead(): void {
  // One that can't be fetched now is fetched when it is opened.
  for (const page of Object.values(pages)) void page().catch(() => undefined);
}

export function App() {
  const { t } = useTranslation();
  const [path] = useLocation();
  const main = useRef<HTMLElement>(null);
  const area = areaOf(path);
  useNews();

  useEffect(() => {
    document.title = area === null || area === 'talk' ? t('app.name') : `${t(`app.${area}`)} · ${t('app.name')}`;
  }, [area, t]);

  useEffect(() => {
    const timer = setTimeout(fetchAhead, 1_500);
    return () => clearTimeout(timer);
  }, []);

  return (
    <>
      <a
        className="skip"
        href="#main"
        onClick={(press) => {
          press.preventDefault();
          main.current?.focus();
        }}
      >
        {t('app.skip')}
      </a>
      <Header />
      <main id="main" ref={main} tabIndex={-1}>
        <Suspense fallback={<Coming />}>
          <Switch>
            <Route path="/" component={TalkPage} />
            <Route path="/history/:id?">{({ id }) => <HistoryPage id={id ?? null} />}</Route>
            <Route path="/voices" component={VoicesPage} />
            <Route path="/status" component={StatusPage} />
            <Route>
              <Empty title={t('app.notFoundTitle')} body={t('app.notFoundBody')}>
                <Link className="button primary" href="/">
                  {t('app.toTalk')}
                </Link>
              </Empty>
            </Route>
          </Switch>
        </Suspense>
      </main>
      <Toaster />
    </>
  );
}

function Coming() {
  const { t } = useTranslation();
  return (
    <div className="coming">
      <Skeleton rows={4} height={84} label={t('history.loading')} />
    </div>
  );
}
