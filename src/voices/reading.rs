//! Texts to read aloud for a sample: about fifteen seconds at an easy pace, with most of the language's sounds in them.

/// Language (BCP 47) and text.
pub const READING: [(&str, &str); 2] = [
    (
        "en",
        "I would like my own voice to speak here, so I am reading these few lines the way I usually talk. This morning a thin fog lay \
         over the harbour, and the ships sounded their horns before they moved. Do you enjoy such quiet hours? I do: a cup of tea, \
         the window open, and just enough time to choose what the day should be.",
    ),
    (
        "zh-TW",
        "我想讓這裡用我的聲音說話，所以照平常講話的方式唸這幾句。今天早上港口有一層薄霧，船要出發之前都先鳴了笛。你喜歡這樣安靜的時刻嗎？我很喜歡：\
         泡一杯熱茶，打開窗戶，還有一點時間，可以慢慢決定這一天要怎麼過。",
    ),
];
