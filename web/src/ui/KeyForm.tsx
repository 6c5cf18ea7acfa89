import { useId, useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { apiKey, setApiKey } from '../api/key';
import styles from './KeyForm.module.css';

/** Asks for the server's API key, keeps it for this tab, and goes on with `done`. */
export function KeyForm({ wrong, done }: { wrong: boolean; done: () => void }) {
  const { t } = useTranslation();
  const [key, setKey] = useState('');
  const id = useId();

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim() === '') return;
    setApiKey(key);
    done();
  };

  return (
    <form className={styles.form} data-testid="key-form" onSubmit={submit}>
      <label htmlFor={id}>{t('key.label')}</label>
      <div className={styles.row}>
        <input
          id={id}
          type="password"
          data-testid="key"
          // Not a password of a person: nothing for the browser to offer to keep.
          autoComplete="off"
          spellCheck={false}
          autoFocus
          value={key}
          aria-invalid={wrong}
          aria-describedby={`${id}-kept`}
          onChange={({ target }) => setKey(target.value)}
        />
        <button type="submit" className="button primary" data-testid="use-key" disabled={key.trim() === ''}>
          {t('key.use')}
        </button>
      </div>
      <p id={`${id}-kept`}>{t('key.kept')}</p>
      {apiKey() !== null && (
        <button
          type="button"
          className={styles.forget}
          onClick={() => {
            setApiKey(null);
            setKey('');
          }}
        >
          {t('key.forget')}
        </button>
      )}
    </form>
  );
}
