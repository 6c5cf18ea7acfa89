import { FileAudio, Upload, X } from 'lucide-react';
import { useId, useState, type DragEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { bytes } from '../ui/format';
import { fileProblem } from './recording';
import styles from './AddVoice.module.css';

interface Props {
  file: File | null;
  onFile: (file: File | null) => void;
}

/** Chooses a file, by the button or by dropping it here. */
export function UploadPanel({ file, onFile }: Props) {
  const { t, i18n } = useTranslation();
  const [over, setOver] = useState(false);
  const [problem, setProblem] = useState<ReturnType<typeof fileProblem>>(null);
  const id = useId();

  const take = (chosen: File | undefined) => {
    if (chosen === undefined) return;
    const wrong = fileProblem(chosen);
    setProblem(wrong);
    onFile(wrong === null ? chosen : null);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };

  return (
    <div className={styles.upload}>
      <p className={styles.lead}>{t('voices.upload.lead')}</p>
      {file === null ? (
        <label
          htmlFor={id}
          className={styles.drop}
          data-over={over}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={drop}
        >
          <Upload size={24} strokeWidth={1.75} aria-hidden="true" />
          <span>{t('voices.upload.choose')}</span>
          <small>{t('voices.upload.kinds')}</small>
          <input
            id={id}
            type="file"
            accept="audio/*,.wav,.flac,.mp3,.ogg,.opus,.webm"
            className="visually-hidden"
            data-testid="file"
            onChange={({ target }) => {
              take(target.files?.[0]);
              // The same file may be chosen again after it was put back.
              target.value = '';
            }}
          />
        </label>
      ) : (
        <p className={styles.file} data-testid="chosen-file">
          <FileAudio size={20} strokeWidth={1.75} aria-hidden="true" />
          <span>{file.name}</span>
          <small>{bytes(file.size, i18n.language)}</small>
          <button type="button" aria-label={t('voices.upload.putBack')} onClick={() => onFile(null)}>
            <X size={16} aria-hidden="true" />
          </button>
        </p>
      )}
      {problem !== null && file === null && (
        <p className={styles.refused} role="alert" data-testid="refusal" data-code={problem}>
          {t(`voices.refusal.${problem}`)}
        </p>
      )}
    </div>
  );
}
