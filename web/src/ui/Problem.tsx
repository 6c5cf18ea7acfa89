import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/http';
import { apiKey } from '../api/key';
import { Empty } from './Empty';
import { KeyForm } from './KeyForm';
import { useProblem } from './problem';

/** In place of what could not be shown: why, in plain words, and the way on. */
export function Problem({ error, title, retry }: { error: unknown; title: string; retry: () => void }) {
  const { t } = useTranslation();
  const say = useProblem();
  const key = error instanceof ApiError && error.kind === 'key';
  const refused = key && apiKey() !== null;
  return (
    <Empty title={title} body={refused ? t('key.wrong') : say(error)} testid="failure">
      {key ? (
        <KeyForm wrong={refused} done={retry} />
      ) : (
        <button type="button" className="button primary" data-testid="retry" onClick={retry}>
          {t('ui.retry')}
        </button>
      )}
    </Empty>
  );
}
