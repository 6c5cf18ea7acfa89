import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, Route, Switch, useLocation } from 'wouter';
import { HistoryPage } from '../history/HistoryPage';
import { TalkPage } from '../talk/TalkPage';
import { Empty } from '../ui/Empty';
import { Header } from './Header';

export function App() {
  const { t } = useTranslation();
  const [path] = useLocation();
  const main = useRef<HTMLElement>(null);
  const area = path.startsWith('/history') ? 'history' : 'talk';

  useEffect(() => {
    document.title = area === 'history' ? `${t('app.history')} · ${t('app.name')}` : t('app.name');
  }, [area, t]);

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
        <Switch>
          <Route path="/" component={TalkPage} />
          <Route path="/history/:id?">{({ id }) => <HistoryPage id={id ?? null} />}</Route>
          <Route>
            <Empty title={t('app.notFoundTitle')} body={t('app.notFoundBody')}>
              <Link className="button primary" href="/">
                {t('app.toTalk')}
              </Link>
            </Empty>
          </Route>
        </Switch>
      </main>
    </>
  );
}
