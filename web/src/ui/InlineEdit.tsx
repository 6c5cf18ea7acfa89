import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from 'react';
import { useTranslation } from 'react-i18next';
import styles from './InlineEdit.module.css';

interface Props {
  label: string;
  value: string;
  maxLength: number;
  /** Several lines; Enter makes a new one, Ctrl+Enter saves. */
  long?: boolean;
  busy: boolean;
  problem: string | null;
  testid: string;
  onSave: (value: string) => void;
  onCancel: () => void;
}

/** A text that is changed where it stands. Escape leaves it as it was. */
export function InlineEdit({ label, value, maxLength, long = false, busy, problem, testid, onSave, onCancel }: Props) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState(value);
  const field = useRef<HTMLInputElement & HTMLTextAreaElement>(null);
  const id = useId();
  const empty = draft.trim() === '';

  useEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(value.length, value.length);
  }, [value]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!empty && !busy) onSave(draft.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, Enter and Escape belong to it.
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Escape') onCancel();
    if (long && event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event);
  };
  const shared = {
    ref: field,
    id,
    value: draft,
    maxLength,
    'data-testid': `${testid}-text`,
    'aria-invalid': problem !== null,
    'aria-describedby': problem === null ? undefined : `${id}-problem`,
    onChange: ({ target }: { target: { value: string } }) => setDraft(target.value),
    onKeyDown,
  };

  return (
    <form className={styles.form} data-testid={testid} onSubmit={submit}>
      <label htmlFor={id} className="visually-hidden">
        {label}
      </label>
      {long ? <textarea rows={3} {...shared} /> : <input type="text" autoComplete="off" {...shared} />}
      {problem !== null && (
        <p id={`${id}-problem`} className={styles.problem} role="alert">
          {problem}
        </p>
      )}
      <div className={styles.actions}>
        <button type="submit" className="button primary small" disabled={empty || busy} aria-busy={busy} data-testid={`${testid}-save`}>
          {t('ui.save')}
        </button>
        <button type="button" className="button small" disabled={busy} onClick={onCancel}>
          {t('ui.cancel')}
        </button>
      </div>
    </form>
  );
}
