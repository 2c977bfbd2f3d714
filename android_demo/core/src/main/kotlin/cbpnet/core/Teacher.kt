package cbpnet.core

/** The scores [B][C] of images, -inf for unknown classes, and each one's task, or null without prompts of tasks. */
internal class Scores(val scores: List<FloatArray>, val tasks: List<Int?>)

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
)

/** What is known after some lessons. */
internal class Taught(val knowledge: Knowledge, val lessons: List<Lesson>)

/** What an app's learner needs of each kind of bundle: to classify, to be taught, and to forget. */
internal interface Teacher {
    /** The state in the bundle. */
    fun storedState(): State

    /** What prepared images are taken for. */
    fun classify(state: State, images: List<RgbImage>): Scores

    /** Learns pictures by label, of each at least one. */
    fun teach(before: Knowledge, pictures: Map<String, List<Picture>>, how: Teaching): Taught

    /** What is known without a class. */
    fun forget(before: Knowledge, label: String): Knowledge
}
