package cbpnet.core

/** Counts the looks at pictures; [total] grows when it turns out that there will be more of them. */
internal class Progress(private val told: (done: Int, total: Int) -> Unit) {
    private var done = 0
    var total = 0

    fun count(images: Int) {
        done += images
        told(done, total)
    }
}

/** How pictures are learnt, as [LearningSession.learn] describes it; [check] throws to end the lesson. */
internal class Teaching(
    val settings: TrainingSettings,
    val joinedTask: Int?,
    val progress: Progress,
    val decided: (Forecast) -> Unit,
    val check: () -> Unit,
    val source: String,
    val journal: Long?,
)

/** What is known after some lessons. */
internal class Learnt(val knowledge: Knowledge, val lessons: List<Lesson>)

/** What an app's learner needs of each kind of bundle: to classify, to be taught, and to be corrected. */
internal interface Teacher {
    /** What is known at first. */
    fun start(): Knowledge

    /** What prepared images are taken for. */
    fun classify(state: State, images: List<RgbImage>): List<Answer>

    /** Learns pictures by label, of each at least one. */
    fun teach(before: Knowledge, pictures: Map<String, List<Picture>>, how: Teaching): Learnt

    /** What is known without a class. */
    fun forget(before: Knowledge, label: String): Knowledge

    /** What is known with a class under another name. */
    fun rename(before: Knowledge, label: String, new: String): Knowledge

    /**
     * What is known by another journal.
     *
     * @throws InputException the bundle has tasks, and no journal.
     */
    fun correct(before: Knowledge, change: (Journal) -> Journal): Knowledge
}

/** Now, as a journal has it. */
internal fun now(): Long = System.currentTimeMillis() / 1000
