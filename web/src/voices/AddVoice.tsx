import * as Tabs from '@radix-ui/react-tabs';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/http';
import { uploadVoice, type Cloning, type Sample } from '../api/voices';
import { keys } from '../app/query-keys';
import { toast } from '../ui/toast';
import styles from './AddVoice.module.css';
import { RecordPanel } from './RecordPanel';
import { extensionOf, lengthWord } from './recording';
import { useRefusal } from './refusal';
import { UploadPanel } from './UploadPanel';
import { useRecorder } from './use-recorder';

const NAME_LIMIT = 60;

/** From a sample to a voice: read a text aloud or choose a file, name it, agree, send. */
export function AddVoice({ cloning, onClose }: { cloning: Cloning | undefined; onClose: () => void }) {
  const { t, i18n } = useTranslation();
  const refusal = useRefusal();
  const client = useQueryClient();
  const recorder = useRecorder();
  const id = useId();
  const [way, setWay] = useState<'record' | 'upload'>('record');
  const [file, setFile] = useState<File | null>(null);
  const [name, setName] = useState('');
  const [transcript, setTranscript] = useState('');
  const [consent, setConsent] = useState(false);
  const [share, setShare] = useState(0);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);

  const reading = cloning?.reading[i18n.language === 'en' ? 'en' : 'zh-TW'] ?? t('voices.record.reading');
  const recorded = recorder.state.kind === 'done' ? recorder.state : null;
  const audio = way === 'record' ? (recorded !== null && lengthWord(recorded.seconds) !== 'short' ? recorded.audio : null) : file;

  const upload = useMutation({
    mutationFn: (sample: Sample) => {
      setShare(0);
      running.current = new AbortController();
      return uploadVoice(sample, setShare, running.current.signal);
    },
    onSuccess: ({ warnings }) => {
      void client.invalidateQueries({ queryKey: keys.voices });
      toast({ text: warnings[0] === undefined ? t('voices.added', { name }) : t('voices.addedWith', { name, warning: warnings[0] }) });
      onClose();
    },
  });

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (audio === null || name.trim() === '' || !consent || upload.isPending) return;
    const fileName = audio instanceof File ? audio.name : `recording.${extensionOf(audio.type)}`;
    // What was read aloud is known; the reader's own text for a file, if there is one.
    upload.mutate({ name: name.trim(), audio, fileName, transcript: way === 'record' ? reading : transcript, consent });
  };
  const code = upload.error instanceof ApiError ? upload.error.code : '';

  return (
    <section className={styles.add} aria-labelledby={`${id}-title`} data-testid="add-voice">
      <h2 id={`${id}-title`}>{t('voices.add')}</h2>
      <form onSubmit={submit}>
        <Tabs.Root value={way} onValueChange={(next) => setWay(next as typeof way)}>
          <Tabs.List className={styles.tabs} aria-label={t('voices.way')}>
            <Tabs.Trigger value="record" data-testid="way-record" disabled={upload.isPending}>
              {t('voices.record.tab')}
            </Tabs.Trigger>
            <Tabs.Trigger value="upload" data-testid="way-upload" disabled={upload.isPending}>
              {t('voices.upload.tab')}
            </Tabs.Trigger>
          </Tabs.List>
          <Tabs.Content value="record" className={styles.way}>
            <RecordPanel recorder={recorder} reading={reading} />
          </Tabs.Content>
          <Tabs.Content value="upload" className={styles.way}>
            <UploadPanel file={file} onFile={setFile} />
          </Tabs.Content>
        </Tabs.Root>

        <div className={styles.field}>
          <label htmlFor={`${id}-name`}>{t('voices.name')}</label>
          <input
            id={`${id}-name`}
            type="text"
            autoComplete="off"
            required
            maxLength={NAME_LIMIT}
            value={name}
            placeholder={t('voices.namePlaceholder')}
            aria-invalid={code === 'name_taken'}
            data-testid="voice-name"
            onChange={({ target }) => setName(target.value)}
          />
        </div>
        {way === 'upload' && (
          <div className={styles.field}>
            <label htmlFor={`${id}-transcript`}>{t('voices.transcript')}</label>
            <textarea
              id={`${id}-transcript`}
              rows={3}
              maxLength={2_000}
              value={transcript}
              placeholder={t('voices.transcriptPlaceholder')}
              data-testid="voice-transcript"
              onChange={({ target }) => setTranscript(target.value)}
            />
          </div>
        )}
        <label className={styles.consent}>
          <input type="checkbox" checked={consent} data-testid="consent" onChange={({ target }) => setConsent(target.checked)} />
          <span>{t('voices.consent')}</span>
        </label>

        {upload.isError && (
          <div className={styles.refused} role="alert" data-testid="refusal" data-code={code}>
            <p>{refusal(upload.error)}</p>
          </div>
        )}
        {upload.isPending ? (
          <div className={styles.progress} data-testid="uploading">
            <div
              className="progress-bar"
              role="progressbar"
              aria-label={t('voices.sending')}
              aria-valuemin={0}
              aria-valuemax={100}
              {...(share < 1 ? { 'aria-valuenow': Math.round(share * 100) } : {})}
              data-busy={share >= 1}
            >
              <span style={{ width: `${share * 100}%` }} />
            </div>
            <p role="status">{t(share < 1 ? 'voices.sending' : 'voices.checking')}</p>
            <button type="button" className="button small" onClick={() => running.current?.abort()}>
              {t('ui.cancel')}
            </button>
          </div>
        ) : (
          <div className={styles.actions}>
            <button
              type="submit"
              className="button primary"
              data-testid="send-voice"
              disabled={audio === null || name.trim() === '' || !consent}
            >
              {t('voices.send')}
            </button>
            <button type="button" className="button" onClick={onClose}>
              {t('ui.cancel')}
            </button>
          </div>
        )}
      </form>
    </section>
  );
}
