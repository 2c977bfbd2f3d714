package cbpnet.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.Menu
import android.view.MenuItem
import android.view.View
import android.widget.Button
import android.widget.TextView
import cbpnet.app.camera.CameraPane
import cbpnet.core.LearningSession
import cbpnet.core.Prediction
import cbpnet.core.RgbImage

/** The first screen: the camera, and what it sees. */
class RecogniseActivity : Activity() {
    private lateinit var pane: CameraPane
    private lateinit var recogniser: Recogniser
    private lateinit var ranking: RankingView
    private lateinit var time: TextView
    private lateinit var hint: TextView
    private lateinit var choose: Button
    private lateinit var teach: Button
    private val showState = { state: LearnerState -> show(state) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.recognise)
        ranking = view(R.id.recognise_ranking)
        time = view(R.id.recognise_time)
        hint = view(R.id.recognise_hint)
        choose = view(R.id.recognise_choose)
        teach = view(R.id.recognise_teach)
        pane = CameraPane(this, ::recognise)
        recogniser = Recogniser(demo.measurements)
        choose.setOnClickListener { startActivity(Intent(this, SettingsActivity::class.java)) }
        teach.setOnClickListener { startActivity(Intent(this, TeachActivity::class.java)) }
        view<Button>(R.id.recognise_library).setOnClickListener {
            startActivity(Intent(this, LibraryActivity::class.java))
        }
    }

    override fun onStart() {
        super.onStart()
        demo.learner.state.observe(showState)
        pane.start()
    }

    override fun onStop() {
        demo.learner.state.ignore(showState)
        pane.stop()
        super.onStop()
    }

    override fun onDestroy() {
        recogniser.close()
        super.onDestroy()
    }

    override fun onRequestPermissionsResult(request: Int, permissions: Array<String>, results: IntArray) {
        pane.answered(request)
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        menuInflater.inflate(R.menu.main, menu)
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        val screen = when (item.itemId) {
            R.id.menu_settings -> SettingsActivity::class.java
            R.id.menu_about -> AboutActivity::class.java
            else -> return super.onOptionsItemSelected(item)
        }
        startActivity(Intent(this, screen))
        return true
    }

    private fun show(state: LearnerState) {
        val session = (state as? LearnerState.Ready)?.session
        if (session != null && session !== told) {
            told = session
            session.note?.let(::say)
        }
        val needsBundle = state is LearnerState.NoBundle || state is LearnerState.Failed
        choose.visibility = if (needsBundle) View.VISIBLE else View.GONE
        teach.isEnabled = session != null
        val text = when (state) {
            LearnerState.Opening -> getString(R.string.opening)
            LearnerState.NoBundle -> getString(R.string.no_bundle)
            is LearnerState.Failed -> state.message
            is LearnerState.Ready ->
                if (state.session.knowledge.classNames.isEmpty()) getString(R.string.nothing_learnt) else ""
        }
        explain(text)
    }

    private fun explain(text: String) {
        hint.text = text
        hint.visibility = if (text.isEmpty()) View.GONE else View.VISIBLE
        if (text.isEmpty()) return
        ranking.show(emptyList())
        time.text = ""
    }

    private fun recognise(image: RgbImage) {
        val session = demo.learner.session ?: return
        if (session.knowledge.classNames.isEmpty()) return
        recogniser.offer(
            session,
            image,
            onResult = { prediction, millis -> if (session === demo.learner.session) show(prediction, millis) },
            onTrouble = { if (session === demo.learner.session) explain(it) },
        )
    }

    private fun show(prediction: Prediction, millis: Float) {
        val unknown = prediction.unlikeness?.isUnknown == true
        val text = if (unknown) getString(R.string.like_nothing_known) else ""
        // Only a new text is told to a screen reader, and this comes many times a second.
        if (hint.text.toString() != text) hint.text = text
        hint.visibility = if (unknown) View.VISIBLE else View.GONE
        ranking.show(prediction.ranking)
        ranking.alpha = if (unknown) FAINT else 1f
        time.text = getString(R.string.image_time, millis)
    }

    private companion object {
        /** How the best of the known classes are shown when an image is like none of them. */
        const val FAINT = 0.5f

        /** The session of which the note has been shown, which rotations do not repeat. */
        var told: LearningSession? = null
    }
}
