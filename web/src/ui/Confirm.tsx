import * as AlertDialog from '@radix-ui/react-alert-dialog';
import { useTranslation } from 'react-i18next';
import styles from './Confirm.module.css';

interface Props {
  open: boolean;
  title: string;
  body: string;
  /** What the button that does it says. */
  action: string;
  busy: boolean;
  /** Why it could not be done. */
  problem: string | null;
  onConfirm: () => void;
  onCancel: () => void;
}

/** Asks before something is done that can't be undone. */
export function Confirm({ open, title, body, action, busy, problem, onConfirm, onCancel }: Props) {
  const { t } = useTranslation();
  return (
    <AlertDialog.Root open={open} onOpenChange={(next) => !next && !busy && onCancel()}>
      <AlertDialog.Portal>
        <AlertDialog.Overlay className={styles.veil} />
        <AlertDialog.Content className={styles.dialog} data-testid="confirm">
          <AlertDialog.Title className={styles.title}>{title}</AlertDialog.Title>
          <AlertDialog.Description className={styles.body}>{body}</AlertDialog.Description>
          {problem !== null && (
            <p className={styles.problem} role="alert">
              {problem}
            </p>
          )}
          <div className={styles.actions}>
            <AlertDialog.Cancel className="button" disabled={busy}>
              {t('ui.cancel')}
            </AlertDialog.Cancel>
            <button type="button" className="button danger" data-testid="confirm-do" disabled={busy} aria-busy={busy} onClick={onConfirm}>
              {action}
            </button>
          </div>
        </AlertDialog.Content>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}
